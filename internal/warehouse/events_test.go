package warehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestRepeatsInOneBatch(t *testing.T) {
	store := open(t)
	duplicate, err := store.WriteEvents(t.Context(), []audience.Event{event("a", "1"), event("b", "1"), event("a", "1"), event("a", "2")})
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true, false}, duplicate)
	require.Equal(t, 3, count(t, store, "events"))
	require.Equal(t, 2, count(t, store, "users FINAL"))
}
