package server_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// TestDeletedAudienceLeavesThePlatform: before it is forgotten; while the platform keeps it, so do we.
func TestDeletedAudienceLeavesThePlatform(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	stored, err := h.audiences.Get(t.Context(), "vip-meta")
	require.NoError(t, err)
	stored.PlatformID = "2384"
	stored, err = h.audiences.Update(t.Context(), stored)
	require.NoError(t, err)
	remove := func(etag string) error {
		_, err := h.destination.DeleteAudience(t.Context(), &audiencev1.DeleteAudienceRequest{Name: "audiences/vip-meta", Etag: etag})
		return err
	}
	requireStatus(t, remove("stale"), codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)

	h.unreachable = &audience.UnavailableError{What: "audience vip-meta stays as it is; delete it again later: meta", RetryAfter: 7}
	d := requireStatus(t, remove(""), codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	require.Contains(t, d.message, "delete it again later")
	_, err = h.audiences.Get(t.Context(), "vip-meta")
	require.NoError(t, err)
	require.Empty(t, h.retired)

	h.unreachable = nil
	run, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	requireStatus(t, remove(""), codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Empty(t, h.retired, "a sync is under way")
	h.endRun(run.GetRun().GetName(), audience.RunSucceeded)

	require.NoError(t, remove(stored.Etag))
	require.Equal(t, []string{"2384"}, h.retired)
	requireStatus(t, remove(""), codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}
