package warehouse

import (
	"context"
	"fmt"
	"iter"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

const selectMembers = "SELECT user_id, segments, version FROM members FINAL "

// Members yields everybody who is in at least one segment, by UserID.
func (s *Store) Members(ctx context.Context) iter.Seq2[audience.Membership, error] {
	return s.MembersAfter(ctx, "")
}

// MembersAfter yields everybody whose id is after the given one and who is in at least one segment, by UserID.
func (s *Store) MembersAfter(ctx context.Context, after audience.UserID) iter.Seq2[audience.Membership, error] {
	return stream(ctx, s, audience.Query{
		SQL:    selectMembers + "WHERE user_id > {after:String} AND notEmpty(segments) ORDER BY user_id",
		Params: map[string]any{"after": string(after)},
	}, scanMembership)
}

// MembershipOf is a user's membership on record: without segments and version for a user who never was in any.
func (s *Store) MembershipOf(ctx context.Context, user audience.UserID) (audience.Membership, error) {
	membership, found, err := first(ctx, s, audience.Query{
		SQL:    selectMembers + "WHERE user_id = {user:String}",
		Params: map[string]any{"user": string(user)},
	}, scanMembership)
	if err != nil {
		return membership, fmt.Errorf("read a membership: %w", err)
	}
	if !found {
		membership.User = user
	}
	return membership, nil
}

// SegmentSizes counts the members of every segment that has any.
func (s *Store) SegmentSizes(ctx context.Context) (map[audience.Number]int64, error) {
	sizes := map[audience.Number]int64{}
	err := s.Select(ctx, audience.Query{
		SQL: "SELECT arrayJoin(segments) AS segment, toInt64(count()) FROM members FINAL GROUP BY segment",
	}, func(scan func(...any) error) error {
		var segment uint32
		var size int64
		err := scan(&segment, &size)
		sizes[audience.Number(segment)] = size
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count members: %w", err)
	}
	return sizes, nil
}

func scanMembership(rows driver.Rows) (membership audience.Membership, err error) {
	var user string
	var segments []uint32
	err = rows.Scan(&user, &segments, &membership.Version)
	membership.User, membership.Segments = audience.UserID(user), numbers(segments)
	return membership, err
}
