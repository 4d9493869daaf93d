package warehouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// change is a log entry after which the user is in the segments.
func change(version uint64, user audience.UserID, segments ...audience.Number) audience.Change {
	return audience.Change{Membership: audience.Membership{User: user, Segments: segments, Version: version}, Time: noon, Cause: "runs/x"}
}

func appendChanges(t testing.TB, store *Store, changes ...audience.Change) {
	t.Helper()
	require.NoError(t, store.AppendChanges(t.Context(), changes))
}

func members(t testing.TB, store *Store) []audience.Membership {
	t.Helper()
	list, err := all(store.Members(t.Context()))
	require.NoError(t, err)
	return list
}

func TestTheLogAndWhatIsReadFromIt(t *testing.T) {
	store, ctx := open(t), t.Context()
	last, err := store.LastVersion(ctx)
	require.NoError(t, err)
	require.Zero(t, last)

	first := change(1, "a", 1, 2)
	first.Entered = []audience.Number{1, 2}
	second := change(2, "a", 2)
	second.Left = []audience.Number{1}
	appendChanges(t, store, first, change(1, "b", 2), change(1, "c", 1))
	appendChanges(t, store, second, change(2, "c"))
	appendChanges(t, store, second, change(2, "c")) // a repeat

	last, err = store.LastVersion(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, last)
	log, err := all(store.ChangesAfter(ctx, 0))
	require.NoError(t, err)
	require.Equal(t, []audience.Change{first, change(1, "b", 2), change(1, "c", 1), second, change(2, "c")}, log)
	log, err = all(store.ChangesAfter(ctx, 1))
	require.NoError(t, err)
	require.Equal(t, []audience.Change{second, change(2, "c")}, log)

	require.Equal(t, []audience.Membership{second.Membership, change(1, "b", 2).Membership}, members(t, store))
	sizes, err := store.SegmentSizes(ctx)
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]int64{2: 2}, sizes)
	for user, want := range map[audience.UserID]audience.Membership{
		"a": second.Membership, "c": {User: "c", Version: 2}, "nobody": {User: "nobody"},
	} {
		got, err := store.MembershipOf(ctx, user)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	page, err := all(store.MembersOf(ctx, 2, "", 1))
	require.NoError(t, err)
	require.Equal(t, []audience.UserID{"a"}, page)
	page, err = all(store.MembersOf(ctx, 2, "a", 10))
	require.NoError(t, err)
	require.Equal(t, []audience.UserID{"b"}, page)
}

func TestPagesOfTheLog(t *testing.T) {
	store := open(t)
	step := func(version uint64, user audience.UserID) audience.Change {
		return audience.Change{Membership: audience.Membership{User: user, Segments: []audience.Number{1}, Version: version}, Entered: []audience.Number{1}, Time: noon}
	}
	require.NoError(t, store.AppendChanges(t.Context(), []audience.Change{step(1, "a"), step(1, "b"), step(1, "ü")}))
	require.NoError(t, store.AppendChanges(t.Context(), []audience.Change{step(2, "a")}))
	require.NoError(t, store.AppendChanges(t.Context(), []audience.Change{step(10, "a")}))
	for _, c := range []struct {
		version uint64
		user    audience.UserID
		limit   int
		want    []audience.Change
	}{
		{0, "", 3, []audience.Change{step(1, "a"), step(1, "b"), step(1, "ü")}},
		{1, "a", 2, []audience.Change{step(1, "b"), step(1, "ü")}},
		{1, "ü", 9, []audience.Change{step(2, "a"), step(10, "a")}},
		{1, "\xff", 1, []audience.Change{step(2, "a")}},
		{10, "a", 1, nil},
	} {
		got, err := store.ChangesBehind(t.Context(), c.version, c.user, c.limit)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%d %q", c.version, c.user)
	}
}

func TestMembersAreHealedFromTheLogOnStart(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	store := reopen(t, dsn)
	appendChanges(t, store, change(1, "a", 1), change(1, "b", 1))
	appendChanges(t, store, change(2, "a", 1, 2), change(2, "c", 3))
	whole := members(t, store)
	for _, lost := range []string{"user_id = 'c'", "version = 2", "true"} {
		require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: "DELETE FROM members WHERE " + lost}))
		require.NotEqual(t, whole, members(t, store))
		require.NoError(t, store.Close())
		store = reopen(t, dsn)
		require.Equal(t, whole, members(t, store), lost)
	}
}

func TestMembersAreHealedBeforeTheNextChange(t *testing.T) {
	store, ctx := open(t), t.Context()
	appendChanges(t, store, change(1, "a", 1))
	rename := func(from, to string) {
		require.NoError(t, store.Exec(ctx, audience.Query{SQL: "RENAME TABLE " + from + " TO " + to}))
	}
	rename("members", "members_elsewhere")
	require.Error(t, store.AppendChanges(ctx, []audience.Change{change(2, "b", 2)}))
	rename("members_elsewhere", "members")
	// the part of the failed insert that did land, whichever it was
	require.NoError(t, store.Exec(ctx, audience.Query{SQL: "ALTER TABLE members_of_changes MODIFY QUERY SELECT user_id, segments, version FROM membership_changes WHERE false"}))
	appendOnly := change(2, "b", 2)
	require.NoError(t, store.insert(ctx, "membership_changes (version, user_id, segments, time)",
		[]uint64{2}, []string{"b"}, [][]uint32{{2}}, []int64{millis(appendOnly.Time)}))
	require.NoError(t, store.Exec(ctx, audience.Query{SQL: "ALTER TABLE members_of_changes MODIFY QUERY SELECT user_id, segments, version FROM membership_changes"}))

	appendChanges(t, store, change(3, "c", 3))
	require.Equal(t, []audience.Membership{change(1, "a", 1).Membership, change(2, "b", 2).Membership, change(3, "c", 3).Membership}, members(t, store))
}

// computed stores a membership as that of a round and gives the query that yields it.
func computed(ctx context.Context, t require.TestingT, store *Store, round uint64, membership map[audience.UserID][]audience.Number) audience.Query {
	var users []string
	var segments [][]uint32
	for user, numbers := range membership {
		users, segments = append(users, string(user)), append(segments, uint32s(numbers))
	}
	require.NoError(t, store.insert(ctx, "computed (round, user_id, segments)", slices.Repeat([]uint64{round}, len(users)), users, segments))
	return audience.Query{SQL: "SELECT user_id, segments FROM computed WHERE round = {round:UInt64}", Params: map[string]any{"round": round}}
}

func TestAppliedDifferencesLeaveNone(t *testing.T) {
	store, ctx := open(t), t.Context()
	require.NoError(t, store.Exec(ctx, audience.Query{SQL: "CREATE TABLE computed (round UInt64, user_id String, segments Array(UInt32)) ENGINE = MergeTree ORDER BY round"}))
	version := uint64(0)
	recorded := map[audience.UserID][]audience.Number{}
	users := make([]audience.UserID, 12)
	for i := range users {
		users[i] = audience.UserID(fmt.Sprintf("user-%02d", i))
	}
	membership := rapid.MapOf(rapid.SampledFrom(users), rapid.Custom(func(t *rapid.T) []audience.Number {
		return slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.Map(rapid.IntRange(1, 6), func(n int) audience.Number { return audience.Number(n) }), 0, 4).Draw(t, "segments"))))
	}))
	rapid.Check(t, func(t *rapid.T) {
		next := membership.Draw(t, "computed")
		version++
		q := computed(ctx, t, store, version, next)
		changes, err := all(store.Diff(ctx, q))
		require.NoError(t, err)
		require.True(t, slices.IsSortedFunc(changes, func(a, b audience.Change) int { return cmp.Compare(a.User, b.User) }))

		want := maps.Clone(next)
		for i := range changes {
			change := &changes[i]
			change.Version, change.Time = version, noon
			require.ElementsMatch(t, want[change.User], change.Segments)
			after := slices.DeleteFunc(slices.Concat(recorded[change.User], change.Entered), func(n audience.Number) bool { return slices.Contains(change.Left, n) })
			slices.Sort(after)
			require.ElementsMatch(t, want[change.User], after, "what was, and entered, without what left")
			require.NotEmpty(t, slices.Concat(change.Entered, change.Left))
		}
		require.NoError(t, store.AppendChanges(ctx, changes))
		recorded = want

		left, err := all(store.Diff(ctx, q))
		require.NoError(t, err)
		require.Empty(t, left)
		got := map[audience.UserID][]audience.Number{}
		for m, err := range store.Members(ctx) {
			require.NoError(t, err)
			got[m.User] = m.Segments
		}
		maps.DeleteFunc(recorded, func(_ audience.UserID, segments []audience.Number) bool { return len(segments) == 0 })
		require.Equal(t, recorded, got)
	})
}
