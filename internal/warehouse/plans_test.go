package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestHeldPlan(t *testing.T) {
	store := open(t)
	none, err := store.HeldPlan(t.Context(), 4)
	require.NoError(t, err)
	require.Empty(t, none)
	held := audience.HeldPlan{Run: "r", State: audience.HeldWaiting, Time: noon, Expires: noon.Add(24 * time.Hour),
		Plan: audience.SyncPlan{Members: 3, Removals: 7, Suppressed: map[string]int64{"no_consent": 2}, Duration: time.Minute, Hold: []string{"why"}}}
	require.NoError(t, store.PutHeldPlan(t.Context(), 4, held))
	held.State = audience.HeldApproved
	require.NoError(t, store.PutHeldPlan(t.Context(), 4, held))
	require.NoError(t, store.PutHeldPlan(t.Context(), 5, audience.HeldPlan{Run: "other"}))
	got, err := store.HeldPlan(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, held, got)
}

func TestPastSyncsAreTheLastOfEachDay(t *testing.T) {
	store := open(t)
	record := func(at time.Time, members int64) audience.SyncRecord {
		return audience.SyncRecord{Run: "r", Time: at, Expression: "x", Members: members, Unidentifiable: 1,
			Source: audience.Source{Evaluated: at, Events: 3, Distinct: 2, Users: 1}}
	}
	for i := range 5 {
		require.NoError(t, store.RecordSync(t.Context(), 4, record(noon.Add(time.Duration(i)*8*time.Hour), int64(i))))
	}
	require.NoError(t, store.RecordSync(t.Context(), 5, record(noon, 9)))
	past, err := store.PastSyncs(t.Context(), 4, noon)
	require.NoError(t, err)
	require.Equal(t, []audience.SyncRecord{record(noon.Add(32*time.Hour), 4), record(noon.Add(8*time.Hour), 1)}, past)
}

func TestSource(t *testing.T) {
	store := open(t)
	at := time.Date(2026, 1, 8, 0, 0, 0, 0, time.UTC)
	source, err := store.Source(t.Context(), at)
	require.NoError(t, err)
	require.Zero(t, source)

	events := []audience.Event{event("a", "1"), event("a", "2"), event("b", "3"), event("b", "4")}
	events[3].Time = at.Add(-8 * 24 * time.Hour)
	_, err = store.WriteEvents(t.Context(), events)
	require.NoError(t, err)
	require.NoError(t, store.PutRun(t.Context(), audience.Run{ID: "1", Kind: audience.RunEvaluate, State: audience.RunSucceeded, EndTime: at.Add(-time.Hour)}))
	require.NoError(t, store.PutRun(t.Context(), audience.Run{ID: "2", Kind: audience.RunEvaluate, State: audience.RunFailed, EndTime: at}))
	require.NoError(t, store.AppendChanges(t.Context(), []audience.Change{{Membership: audience.Membership{User: "a", Version: 1}, Time: at.Add(-2 * time.Hour)}}))
	source, err = store.Source(t.Context(), at)
	require.NoError(t, err)
	require.WithinDuration(t, events[0].Time, source.Newest, time.Second)
	require.Equal(t, audience.Source{Evaluated: at.Add(-time.Hour), Newest: source.Newest, Events: 3, Distinct: 2, Users: 2}, source)
}
