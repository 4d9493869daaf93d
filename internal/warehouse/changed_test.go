package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestChangedSegments(t *testing.T) {
	store, ctx := open(t), t.Context()
	change := func(version uint64, at time.Time, entered, left []audience.Number) {
		t.Helper()
		require.NoError(t, store.AppendChanges(ctx, []audience.Change{{
			Membership: audience.Membership{User: "a", Segments: entered, Version: version}, Entered: entered, Left: left, Time: at,
		}}))
	}
	read := func(version uint64, since time.Time) map[audience.Number]time.Time {
		t.Helper()
		changed, newest, err := store.ChangedSegments(ctx, version, since)
		require.NoError(t, err)
		require.EqualValues(t, 3, newest)
		return changed
	}
	changed, newest, err := store.ChangedSegments(ctx, 0, time.Time{})
	require.NoError(t, err)
	require.Empty(t, changed)
	require.Zero(t, newest)
	change(1, noon, []audience.Number{3, 4}, nil)
	change(2, noon.Add(time.Hour), []audience.Number{5}, []audience.Number{4})
	change(3, noon.Add(2*time.Hour), nil, []audience.Number{5})
	require.Equal(t, map[audience.Number]time.Time{3: noon, 4: noon.Add(time.Hour), 5: noon.Add(2 * time.Hour)}, read(0, time.Time{}))
	require.Equal(t, map[audience.Number]time.Time{5: noon.Add(2 * time.Hour)}, read(2, time.Time{}))
	require.Equal(t, map[audience.Number]time.Time{4: noon.Add(time.Hour), 5: noon.Add(2 * time.Hour)}, read(0, noon))
	require.Empty(t, read(3, time.Time{}))
}

func TestAudiencesThatWaitOrAreInDoubt(t *testing.T) {
	store, ctx := open(t), t.Context()
	for number, plan := range map[audience.Number]audience.HeldPlan{
		1: {State: audience.HeldWaiting, Expires: noon.Add(time.Hour)},
		2: {State: audience.HeldWaiting, Expires: noon},
		3: {State: audience.HeldDropped, Expires: noon.Add(time.Hour)},
	} {
		require.NoError(t, store.PutHeldPlan(ctx, number, plan))
	}
	waiting, err := store.WaitingPlans(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]bool{1: true}, waiting)

	require.NoError(t, store.RecordDoubts(ctx, 4, []audience.Delivery{{User: "a", Identifiers: []audience.Identifier{email}, Time: noon}}))
	doubtful, err := store.DoubtfulAudiences(ctx)
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]bool{4: true}, doubtful)
	require.NoError(t, store.SettleDoubts(ctx, 4, 1))
	doubtful, err = store.DoubtfulAudiences(ctx)
	require.NoError(t, err)
	require.Empty(t, doubtful)
}
