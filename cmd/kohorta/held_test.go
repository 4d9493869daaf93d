package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHeldSyncs: what a held sync says of itself is true before and after somebody has decided, and a sync that was approved
// says so.
func TestHeldSyncs(t *testing.T) {
	platforms := startAwayPlatforms(t)
	s := startService(t)
	_, do := synced(t, s, platforms, "ann", "bob", "cid")
	do("apply", "--yes", "-f", write(t, "r.yaml", `segments: [{id: everybody, expression: 'did("refund", "all")'}]`))
	do("segment", "evaluate")
	hold := func(id string) (run string) {
		t.Helper()
		out, err := kohorta(t, s.address(), "sync", "start", id)
		require.ErrorIs(t, err, errHeld)
		run = regexp.MustCompile(`kohorta sync approve (\S+)`).FindStringSubmatch(out)[1]
		require.Contains(t, do("sync", "held"), run)
		require.Contains(t, do("run", "get", run), "to send it anyway: kohorta sync approve "+run)
		return run
	}

	dropped := hold("all-meta")
	do("sync", "drop", dropped)
	require.Contains(t, do("run", "get", dropped), "nothing was sent; it no longer waits")

	approved := hold("all-tiktok")
	require.Contains(t, do("sync", "approve", approved), "approved, although the segment is empty")
	require.Contains(t, do("run", "get", approved), "nothing was sent; it no longer waits")
	meta, tiktok := platforms.held()
	require.Equal(t, []int{3, 0}, []int{meta, tiktok})
}
