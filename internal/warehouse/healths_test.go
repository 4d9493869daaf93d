package warehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestHealths: of each destination the last one that was put.
func TestHealths(t *testing.T) {
	s := open(t)
	bad := audience.Health{State: audience.HealthWaiting, Trouble: "unauthorized", Remedy: "renew the token", Since: noon, Warnings: []string{"soon"}}
	good := audience.Health{State: audience.HealthOK, Checked: noon}
	require.NoError(t, s.PutHealth(t.Context(), "meta", good))
	require.NoError(t, s.PutHealth(t.Context(), "meta", bad))
	require.NoError(t, s.PutHealth(t.Context(), "tiktok", good))
	healths, err := s.Healths(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[audience.DestinationID]audience.Health{"meta": bad, "tiktok": good}, healths)
}
