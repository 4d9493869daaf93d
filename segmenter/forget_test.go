package segmenter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestForget: an erased user is in no segment, though an absence holds for her, too, and stays out whatever is evaluated then.
func TestForget(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{ID: "quiet", Expression: `!did("visit", "7d")`}, audience.Segment{ID: "buyer", Expression: `did("purchase", "all")`})
	h.ingest(t, purchases("a", 1)...)
	h.ingest(t, purchases("b", 1)...)
	h.settle(t)
	require.Equal(t, []audience.Number{1, 2}, h.segmentsOf(t, "a"))

	erasure, err := h.store.BeginErasure(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, h.store.DeleteUser(t.Context(), "a"))
	require.NoError(t, h.Forget(t.Context(), "a"))
	require.Empty(t, h.segmentsOf(t, "a"))
	require.NoError(t, h.store.DeleteMembership(t.Context(), "a"))
	require.NoError(t, h.Forget(t.Context(), "a"), "a repeat is harmless")
	require.NoError(t, h.store.EndErasure(t.Context(), erasure))

	h.Touch([]audience.UserID{"a"}, "late")
	h.settle(t)
	_, err = h.Evaluate(t.Context(), nil, time.Time{}, "all", func(string, int64, int64) {})
	require.NoError(t, err)
	require.NoError(t, h.Rebuild(t.Context()))
	require.Empty(t, h.segmentsOf(t, "a"))
	require.Equal(t, []audience.Number{1, 2}, h.segmentsOf(t, "b"))
	for change, err := range h.store.ChangesOf(t.Context(), "a") {
		require.NoError(t, err)
		require.Fail(t, "the log still knows her", "version %d", change.Version)
	}

	h.ingest(t, purchases("c", 1)...) // what follows in the log is not taken for old
	h.settle(t)
	require.Equal(t, []audience.Number{1, 2}, h.segmentsOf(t, "c"))
}
