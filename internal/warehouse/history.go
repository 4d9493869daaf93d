package warehouse

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// MembershipAt is a user's membership as of an instant: without segments and version before she was ever in any. Only
// the user's own steps are read.
func (s *Store) MembershipAt(ctx context.Context, user audience.UserID, at time.Time) (audience.Membership, error) {
	membership, found, err := first(ctx, s, audience.Query{
		SQL: `SELECT user_id, segments, version FROM membership_changes
			WHERE user_id = {user:String} AND time <= fromUnixTimestamp64Milli({at:Int64}, 'UTC') ORDER BY version DESC LIMIT 1`,
		Params: map[string]any{"user": string(user), "at": at.UnixMilli()},
	}, scanMembership)
	if err != nil {
		return membership, fmt.Errorf("read a membership as of a time: %w", err)
	}
	if !found {
		membership.User = user
	}
	return membership, nil
}

// MembersAt yields up to limit members (0: all) that a segment had at an instant whose id is after the given one, by
// UserID. It reads the log up to that instant.
func (s *Store) MembersAt(ctx context.Context, segment audience.Number, at time.Time, after audience.UserID, limit int) iter.Seq2[audience.UserID, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id FROM membership_changes
			WHERE time <= fromUnixTimestamp64Milli({at:Int64}, 'UTC') AND user_id > {after:String}
				AND (has(entered, {segment:UInt32}) OR has(left, {segment:UInt32}))
			GROUP BY user_id HAVING argMax(has(segments, {segment:UInt32}), version) ORDER BY user_id` + limited(limit),
		Params: map[string]any{"at": at.UnixMilli(), "after": string(after), "segment": uint32(segment)},
	}, func(rows driver.Rows) (audience.UserID, error) {
		var user string
		err := rows.Scan(&user)
		return audience.UserID(user), err
	})
}

// ChangesOf yields the steps of a user, the newest first.
func (s *Store) ChangesOf(ctx context.Context, user audience.UserID) iter.Seq2[audience.Change, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT DISTINCT user_id, segments, version, entered, left, time, cause FROM membership_changes
			WHERE user_id = {user:String} ORDER BY version DESC`,
		Params: map[string]any{"user": string(user)},
	}, scanChange)
}

// EventsOf are the events of a user, the newest first, at most limit.
func (s *Store) EventsOf(ctx context.Context, user audience.UserID, limit int) ([]audience.Event, error) {
	events, err := all(s.eventsOf(ctx, user, limit))
	if err != nil {
		return nil, fmt.Errorf("read a user's events: %w", err)
	}
	return events, nil
}

func (s *Store) eventsOf(ctx context.Context, user audience.UserID, limit int) iter.Seq2[audience.Event, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT event_id, type, time, value_micros, texts, numbers FROM events_by_user
			WHERE user_id = {user:String} ORDER BY time DESC, event_id` + limited(limit),
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Event, error) {
		event := audience.Event{User: user}
		err := rows.Scan(&event.ID, &event.Type, &event.Time, &event.ValueMicros, &event.Texts, &event.Numbers)
		event.Time = event.Time.UTC()
		return event, err
	})
}
