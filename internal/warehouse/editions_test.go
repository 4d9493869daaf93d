package warehouse

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestEditions covers editions, whom they move, and what is on record of numbers that are gone.
func TestEditions(t *testing.T) {
	store := open(t)
	ctx := t.Context()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	none, err := store.Editions(ctx)
	require.NoError(t, err)
	require.Empty(t, none)
	definition := func(id audience.SegmentID, number audience.Number) audience.Definition {
		return audience.Definition{ID: id, Segment: 7, Version: 3, Number: number, Expression: "true", Group: "tier", Priority: -1}
	}
	edition := func(version uint64, at time.Time, definitions ...audience.Definition) *audience.Edition {
		e := audience.NewEdition(definitions)
		e.Version, e.Time, e.Cause = version, at, "runs/x"
		require.NoError(t, store.PutEdition(ctx, e))
		require.NoError(t, store.PutEdition(ctx, e), "a repeat is harmless")
		return e
	}
	before := edition(0, time.Time{}, definition("a", 1), definition("b", 2))
	change := func(version uint64, user audience.UserID, from, to []audience.Number) audience.Change {
		c := audience.ChangeOf(user, from, to)
		c.Version, c.Time = version, at
		return c
	}
	type numbers = []audience.Number
	require.NoError(t, store.AppendChanges(ctx, []audience.Change{
		change(1, "both", nil, numbers{1, 2}), change(1, "first", nil, numbers{1}), change(1, "gone", nil, numbers{1}), change(1, "other", nil, numbers{2}),
	}))
	require.NoError(t, store.AppendChanges(ctx, []audience.Change{change(2, "gone", numbers{1}, nil)}))
	require.NoError(t, store.AppendChanges(ctx, []audience.Change{ // the new a, which nobody sees yet
		change(3, "both", numbers{1, 2}, numbers{1, 2, 3}), change(3, "new", nil, numbers{3}),
	}))
	after := edition(4, at.Add(time.Minute), definition("a", 3), definition("b", 2))
	last, err := store.LastVersion(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 4, last, "no change has the version of an edition")
	require.NoError(t, store.AppendChanges(ctx, []audience.Change{change(5, "first", numbers{1}, numbers{1, 3})}))

	known, err := store.Editions(ctx)
	require.NoError(t, err)
	require.Equal(t, []*audience.Edition{before, after}, known)

	turned := func(after audience.UserID, limit int) (users []string) {
		for m, err := range store.Turned(ctx, 4, known[1].RenumberedSince(known[0]), after, limit) {
			require.NoError(t, err)
			entered, left := known[1].Turn(known[0], m.Segments)
			users = append(users, fmt.Sprint(m.User, entered, left))
		}
		return users
	}
	require.Equal(t, []string{"first[] [a]", "new[a] []"}, turned("", 0), "as of the edition, whatever follows")
	require.Equal(t, []string{"first[] [a]"}, turned("", 1))
	require.Equal(t, []string{"new[a] []"}, turned("first", 0))

	var gone []audience.Change
	for c, err := range store.Without(ctx, numbers{1}) {
		require.NoError(t, err)
		gone = append(gone, c)
	}
	require.Equal(t, []audience.Change{
		audience.ChangeOf("both", numbers{1, 2, 3}, numbers{2, 3}), audience.ChangeOf("first", numbers{1, 3}, numbers{3}),
	}, gone)

	changed, newest, err := store.ChangedSegments(ctx, 3, time.Time{})
	require.NoError(t, err)
	require.EqualValues(t, 5, newest)
	require.Equal(t, at.Add(time.Minute), changed[3], "the edition moved its members last")
}
