package warehouse

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestOneOfManyGetsALease: whoever claims at once, one succeeds, also when the insert of a loser comes much later.
func TestOneOfManyGetsALease(t *testing.T) {
	store, ctx := open(t), t.Context()
	state, err := store.Lease(ctx, "audience/1")
	require.NoError(t, err)
	require.Equal(t, audience.LeaseState{}, state)

	before := uint64(0)
	for round := range 5 {
		var claiming sync.WaitGroup
		var mu sync.Mutex
		won := map[string]uint64{}
		for i := range 12 {
			claiming.Go(func() {
				me := fmt.Sprintf("%d of round %d", i, round)
				state, err := store.ClaimLease(ctx, "audience/1", before, me)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && state.Holder == me {
					won[me] = state.Fence
				}
			})
		}
		claiming.Wait()
		require.Len(t, won, 1)
		late, err := store.ClaimLease(ctx, "audience/1", before, "late")
		require.NoError(t, err)
		require.Equal(t, won[late.Holder], late.Fence, "it answers with who has it")
		require.GreaterOrEqual(t, late.Fence, before+fenceGap)
		before = late.Fence
	}

	require.NoError(t, store.BeatLease(ctx, "audience/1", before, true))
	state, err = store.Lease(ctx, "audience/1")
	require.NoError(t, err)
	require.True(t, state.Released)
	other, err := store.ClaimLease(ctx, "audience/2", 0, "other")
	require.NoError(t, err)
	require.Equal(t, "other", other.Holder, "names do not touch one another")
	require.False(t, other.Released)
	require.Less(t, other.Idle.Seconds(), 600.0, "from its claim on it is alive")
}
