package warehouse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

var midday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sameEvents compares the two tables of events.
func sameEvents(t *testing.T, s *Store, events int) {
	t.Helper()
	const key = "user_id, type, time, event_id, value_micros, texts, numbers, order_hash"
	differences, _, err := first(t.Context(), s, audience.Query{SQL: fmt.Sprintf(
		"SELECT count() FROM ((SELECT %[1]s FROM events EXCEPT SELECT %[1]s FROM events_by_user) UNION ALL (SELECT %[1]s FROM events_by_user EXCEPT SELECT %[1]s FROM events))", key)}, scanUint64)
	require.NoError(t, err)
	require.Zero(t, differences)
	require.Equal(t, events, count(t, s, "events_by_user"))
}

// TestEventsByUserAreTheEvents makes each of the two tables lack what the other has, as a crash could, and starts again.
func TestEventsByUserAreTheEvents(t *testing.T) {
	for name, damage := range map[string]string{
		"none":                     "SELECT 1",
		"the view lacks all":       "DELETE FROM events_by_user WHERE batch = (SELECT max(batch) FROM events)",
		"the view lacks some":      "DELETE FROM events_by_user WHERE batch = (SELECT max(batch) FROM events) AND event_id = '3'",
		"the events lack all":      "DELETE FROM events WHERE batch = (SELECT max(batch) FROM events_by_user)",
		"the events lack some":     "DELETE FROM events WHERE batch = (SELECT max(batch) FROM events_by_user) AND event_id = '3'",
		"each lacks what it wants": "DELETE FROM events WHERE event_id = '3'; DELETE FROM events_by_user WHERE event_id = '4'",
	} {
		t.Run(name, func(t *testing.T) {
			dsn := enginetest.ClickHouse(t)
			s := reopen(t, dsn)
			_, err := s.WriteEvents(t.Context(), []audience.Event{event("a", "1"), event("b", "1")})
			require.NoError(t, err)
			_, err = s.WriteEvents(t.Context(), []audience.Event{event("a", "2"), event("a", "3"), event("c", "4")})
			require.NoError(t, err)
			sameEvents(t, s, 5)
			for statement := range strings.SplitSeq(damage, "; ") {
				require.NoError(t, s.Exec(t.Context(), audience.Query{SQL: statement}))
			}
			require.NoError(t, s.Close())
			s = reopen(t, dsn)
			left := count(t, s, "events")
			sameEvents(t, s, left)
			duplicate, err := s.WriteEvents(t.Context(), []audience.Event{event("a", "2"), event("a", "3"), event("c", "4")})
			require.NoError(t, err)
			require.Len(t, duplicate, 3)
			sameEvents(t, s, 5)
		})
	}
}

func TestTimers(t *testing.T) {
	s := open(t)
	read := func(after, until time.Time) (users []audience.UserID) {
		t.Helper()
		for timer, err := range s.Timers(t.Context(), after, until) {
			require.NoError(t, err)
			users = append(users, timer.User)
		}
		return users
	}
	require.NoError(t, s.AddTimers(t.Context(), []audience.Timer{
		{Due: midday.Add(time.Minute), User: "b"}, {Due: midday.Add(time.Millisecond), User: "a"}, {Due: midday, User: "past"},
		{Due: midday.AddDate(0, 3, 0), User: "c"}, {Due: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), User: "never"},
	}))
	require.NoError(t, s.AddTimers(t.Context(), []audience.Timer{{Due: midday.Add(time.Minute), User: "b"}}))
	require.Equal(t, []audience.UserID{"a", "b"}, read(midday, midday.Add(time.Minute)))
	require.Equal(t, []audience.UserID{"b"}, read(midday.Add(time.Millisecond), midday.Add(time.Hour)))
	require.Equal(t, []audience.UserID{"a", "b", "c"}, read(midday, midday.AddDate(100, 0, 0)))
	require.NoError(t, s.DropTimers(t.Context(), midday.Add(time.Millisecond)))
	require.Eventually(t, func() bool { return len(read(midday.AddDate(-1, 0, 0), midday.AddDate(100, 0, 0))) == 2 }, 10*time.Second, 10*time.Millisecond)
}

func TestStagedEvaluation(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	s := reopen(t, dsn)
	require.NoError(t, s.AppendChanges(t.Context(), []audience.Change{
		{Membership: audience.Membership{User: "gone", Segments: []audience.Number{1}, Version: 1}, Entered: []audience.Number{1}, Time: midday},
		{Membership: audience.Membership{User: "same", Segments: []audience.Number{1}, Version: 1}, Entered: []audience.Number{1}, Time: midday},
	}))
	q := audience.Query{SQL: `SELECT arrayJoin(['new', 'same', 'none']) AS user_id,
		CAST(if(user_id = 'none', [], [1]), 'Array(UInt32)') AS segments, if(user_id = 'new', {due:Int64}, toInt64(0)) AS due`,
		Params: map[string]any{"due": midday.Add(time.Hour).UnixMilli()}}
	staged, err := s.Stage(t.Context(), q)
	require.NoError(t, err)
	var got []string
	for change, err := range s.StagedChanges(t.Context(), staged) {
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%s +%v -%v", change.User, change.Entered, change.Left))
	}
	require.Equal(t, []string{"gone +[] -[1]", "new +[1] -[]"}, got)
	require.NoError(t, s.AddStagedTimers(t.Context(), staged))
	require.Equal(t, 1, count(t, s, "timers"))

	require.NoError(t, s.Close())
	s = reopen(t, dsn)
	left, _, err := first(t.Context(), s, audience.Query{SQL: "SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'evaluation_')"}, scanUint64)
	require.NoError(t, err)
	require.Zero(t, left, "a process that died leaves no table")
}

func TestMovesAreWrittenOnce(t *testing.T) {
	s := open(t)
	numbers := map[audience.SegmentID]audience.Number{"vip": 1, "lapsed": 2}
	first := audience.Move{User: "a", Into: []audience.SegmentID{"vip"}, Reason: "called", Actor: "crm", RequestID: "r1", Expires: midday.Add(time.Hour)}
	second := audience.Move{User: "a", Into: []audience.SegmentID{"lapsed"}, OutOf: []audience.SegmentID{"vip"}, RequestID: "r2"}
	write := func(move audience.Move, repeated bool) {
		t.Helper()
		was, err := s.WriteMove(t.Context(), move, numbers, midday)
		require.NoError(t, err)
		require.Equal(t, repeated, was)
	}
	held := func() (held []audience.Held) {
		t.Helper()
		pins, err := s.Pins(t.Context(), "a")
		require.NoError(t, err)
		for _, pin := range pins {
			held = append(held, pin.Held)
		}
		return held
	}
	write(first, false)
	pins, err := s.Pins(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, []audience.Pin{{
		User: "a", Segment: 1, Held: audience.HeldIn, Reason: "called", Actor: "crm", RequestID: "r1", Time: midday, Expires: midday.Add(time.Hour), Version: pins[0].Version,
	}}, pins)
	write(second, false)
	require.Equal(t, []audience.Held{audience.HeldOut, audience.HeldIn}, held())
	write(first, true)
	require.Equal(t, []audience.Held{audience.HeldOut, audience.HeldIn}, held(), "a repeat does not overtake")
	write(audience.Move{User: "a", Release: []audience.SegmentID{"vip", "lapsed"}, RequestID: "r3"}, false)
	require.Equal(t, []audience.Held{audience.Released, audience.Released}, held())

	first.Reason = "another"
	_, err = s.WriteMove(t.Context(), first, numbers, midday)
	require.ErrorIs(t, err, audience.ErrConflict)
	first.User = "b"
	write(first, false)
}

func TestMembershipAsOfATime(t *testing.T) {
	s := open(t)
	for i, step := range []struct {
		user          string
		segments      []audience.Number
		entered, left []audience.Number
	}{
		{"a", []audience.Number{1}, []audience.Number{1}, nil},
		{"b", []audience.Number{1, 2}, []audience.Number{1, 2}, nil},
		{"a", []audience.Number{2}, []audience.Number{2}, []audience.Number{1}},
		{"b", nil, nil, []audience.Number{1, 2}},
		{"a", []audience.Number{1, 2}, []audience.Number{1}, nil},
	} {
		require.NoError(t, s.AppendChanges(t.Context(), []audience.Change{{
			Membership: audience.Membership{User: audience.UserID(step.user), Segments: step.segments, Version: uint64(i + 1)},
			Entered:    step.entered, Left: step.left, Time: midday.Add(time.Duration(i) * time.Hour), Cause: "test",
		}}))
	}
	for hour, want := range []struct {
		a, b  []audience.Number
		inOne []audience.UserID
	}{
		{[]audience.Number{1}, nil, []audience.UserID{"a"}},
		{[]audience.Number{1}, []audience.Number{1, 2}, []audience.UserID{"a", "b"}},
		{[]audience.Number{2}, []audience.Number{1, 2}, []audience.UserID{"b"}},
		{[]audience.Number{2}, nil, nil},
		{[]audience.Number{1, 2}, nil, []audience.UserID{"a"}},
	} {
		for _, at := range []time.Time{midday.Add(time.Duration(hour) * time.Hour), midday.Add(time.Duration(hour)*time.Hour + 59*time.Minute)} {
			for user, segments := range map[audience.UserID][]audience.Number{"a": want.a, "b": want.b} {
				membership, err := s.MembershipAt(t.Context(), user, at)
				require.NoError(t, err)
				require.Equal(t, segments, membership.Segments, "%s at %s", user, at)
			}
			users, err := all(s.MembersAt(t.Context(), 1, at, "", 0))
			require.NoError(t, err)
			require.Equal(t, want.inOne, users, "at %s", at)
		}
	}
	before, err := s.MembershipAt(t.Context(), "a", midday.Add(-time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, audience.Membership{User: "a"}, before)
	page, err := all(s.MembersAt(t.Context(), 1, midday.Add(time.Hour), "a", 1))
	require.NoError(t, err)
	require.Equal(t, []audience.UserID{"b"}, page)
	steps, err := all(s.ChangesOf(t.Context(), "a"))
	require.NoError(t, err)
	require.Len(t, steps, 3)
	require.EqualValues(t, 5, steps[0].Version, "the newest first")
}
