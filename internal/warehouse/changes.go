package warehouse

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// changeLog guards the log of membership. One INSERT writes the log and, by a materialized view, members; when it fails
// half-way, members lack what the log has, from version behind on. Nothing is appended before that is made good.
type changeLog struct {
	mu     sync.Mutex
	behind uint64 // 0: members are up to the log
}

// AppendChanges makes changes durable in the log and in members. A repeat of the same changes is harmless. Versions may
// not fall from call to call; all changes of one call may share one.
func (s *Store) AppendChanges(ctx context.Context, changes []audience.Change) error {
	if len(changes) == 0 {
		return nil
	}
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	if err := s.completeMembers(ctx); err != nil {
		return err
	}
	n := len(changes)
	var (
		versions = make([]uint64, n)
		users    = make([]string, n)
		segments = make([][]uint32, n)
		entered  = make([][]uint32, n)
		left     = make([][]uint32, n)
		times    = make([]int64, n)
		causes   = make([]string, n)
	)
	for i, c := range changes {
		versions[i], users[i], times[i], causes[i] = c.Version, string(c.User), millis(c.Time), c.Cause
		segments[i], entered[i], left[i] = uint32s(c.Segments), uint32s(c.Entered), uint32s(c.Left)
	}
	if err := s.insert(ctx, "membership_changes (version, user_id, segments, entered, left, time, cause)",
		versions, users, segments, entered, left, times, causes); err != nil {
		s.changes.behind = changes[0].Version
		return fmt.Errorf("append %d changes to the log: %w", n, err)
	}
	return nil
}

// completeMembers makes good a failed append; the lock of changes is held. It costs nothing when there is none.
func (s *Store) completeMembers(ctx context.Context) error {
	if s.changes.behind == 0 {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.bringMembersUp(ctx, s.changes.behind); err != nil {
		return err
	}
	s.changes.behind = 0
	return nil
}

// healMembers brings members up to the log after a crash: since no version is begun before the last one is whole in both, only
// the newest version members know, and what follows it, can be incomplete.
func (s *Store) healMembers(ctx context.Context) error {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	newest, _, err := first(ctx, s, audience.Query{SQL: "SELECT max(version) FROM members"}, scanUint64)
	if err != nil {
		return err
	}
	missing, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT toUInt64(abs(toInt64((SELECT count() FROM membership_changes FINAL WHERE version >= {from:UInt64}))
			- toInt64((SELECT count() FROM members FINAL WHERE version >= {from:UInt64}))))`,
		Params: map[string]any{"from": newest},
	}, scanUint64)
	if err != nil || missing == 0 {
		return err
	}
	s.log.Info("members brought up to the log", "changes", missing, "from_version", newest)
	return s.bringMembersUp(ctx, newest)
}

// bringMembersUp writes the log's memberships from a version on into members, where the newest of a user stands.
func (s *Store) bringMembersUp(ctx context.Context, from uint64) error {
	return s.Exec(ctx, audience.Query{
		SQL:    "INSERT INTO members SELECT user_id, segments, version FROM membership_changes WHERE version >= {from:UInt64}",
		Params: map[string]any{"from": from},
	})
}

// LastVersion is the newest version of the log, be it an edition's; 0 when it is empty.
func (s *Store) LastVersion(ctx context.Context) (uint64, error) {
	version, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT max(version) FROM (
			SELECT version FROM (SELECT version FROM membership_changes ORDER BY version DESC LIMIT 1)
			UNION ALL SELECT max(version) FROM editions)`,
	}, scanUint64)
	if err != nil {
		return 0, fmt.Errorf("read the log's newest version: %w", err)
	}
	return version, nil
}

// LastChange is the instant of the log's newest changes; zero when it is empty.
func (s *Store) LastChange(ctx context.Context) (time.Time, error) {
	at, _, err := first(ctx, s, audience.Query{SQL: "SELECT time FROM membership_changes ORDER BY version DESC LIMIT 1"},
		func(rows driver.Rows) (at time.Time, err error) { return at, rows.Scan(&at) })
	if err != nil {
		return time.Time{}, fmt.Errorf("read when the log was last written: %w", err)
	}
	return at, nil
}

// ChangesAfter yields the log after a version, by version, then user.
func (s *Store) ChangesAfter(ctx context.Context, version uint64) iter.Seq2[audience.Change, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, segments, version, entered, left, time, cause FROM membership_changes FINAL
			WHERE version > {version:UInt64} ORDER BY version, user_id`,
		Params: map[string]any{"version": version},
	}, scanChange)
}

// ChangesBehind are up to limit changes behind a user of a version, by version, then user.
func (s *Store) ChangesBehind(ctx context.Context, version uint64, user audience.UserID, limit int) ([]audience.Change, error) {
	changes, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, segments, version, entered, left, time, cause FROM membership_changes FINAL
			WHERE version >= {version:UInt64} AND (version, user_id) > ({version:UInt64}, {user:String}) ORDER BY version, user_id` + limited(limit),
		Params: map[string]any{"version": version, "user": string(user)},
	}, scanChange))
	if err != nil {
		return nil, fmt.Errorf("read a page of the log: %w", err)
	}
	return changes, nil
}

func scanChange(rows driver.Rows) (change audience.Change, err error) {
	var (
		user                    string
		segments, entered, left []uint32
		at                      time.Time
	)
	err = rows.Scan(&user, &segments, &change.Version, &entered, &left, &at, &change.Cause)
	change.User, change.Time = audience.UserID(user), at.UTC()
	change.Segments, change.Entered, change.Left = numbers(segments), numbers(entered), numbers(left)
	return change, err
}

func uint32s(numbers []audience.Number) []uint32 {
	out := make([]uint32, len(numbers))
	for i, n := range numbers {
		out[i] = uint32(n)
	}
	return out
}

func numbers(stored []uint32) []audience.Number {
	if len(stored) == 0 {
		return nil
	}
	out := make([]audience.Number, len(stored))
	for i, n := range stored {
		out[i] = audience.Number(n)
	}
	return out
}

// ChangedSegments are the segments whose members changed after a version of the log and after a time, when they did last,
// and the log's newest version.
func (s *Store) ChangedSegments(ctx context.Context, version uint64, since time.Time) (map[audience.Number]time.Time, uint64, error) {
	newest, err := s.LastVersion(ctx) // before what it covers
	if err != nil || newest <= version {
		return nil, max(newest, version), err
	}
	changed := map[audience.Number]time.Time{}
	err = s.Select(ctx, audience.Query{
		SQL: `SELECT segment, max(time) FROM membership_changes ARRAY JOIN arrayConcat(entered, left) AS segment
			WHERE version > {version:UInt64} AND time > fromUnixTimestamp64Milli({since:Int64}, 'UTC') GROUP BY segment`,
		Params: map[string]any{"version": version, "since": millis(since)},
	}, func(scan func(...any) error) error {
		var segment uint32
		var at time.Time
		err := scan(&segment, &at)
		changed[audience.Number(segment)] = at.UTC()
		return err
	})
	if err == nil {
		err = s.addTurned(ctx, changed, version, since)
	}
	if err != nil {
		return nil, version, fmt.Errorf("find segments that have changed: %w", err)
	}
	return changed, newest, nil
}

// addTurned adds the segments that got another number by an edition.
func (s *Store) addTurned(ctx context.Context, changed map[audience.Number]time.Time, version uint64, since time.Time) error {
	editions, err := s.Editions(ctx)
	if err != nil {
		return err
	}
	for i := 1; i < len(editions); i++ {
		if e := editions[i]; e.Version > version && e.Time.After(since) {
			for _, r := range e.RenumberedSince(editions[i-1]) {
				changed[r.After] = e.Time
			}
		}
	}
	return nil
}
