package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestServiceEndsWhenItCannotServe: a process that answers nobody is restarted only if it ends.
func TestServiceEndsWhenItCannotServe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := withService(ctx, testConfig(t), quiet(), func(ctx context.Context, s *service) error {
		require.NoError(t, s.listener.Close())
		<-ctx.Done()
		return nil
	})
	require.ErrorContains(t, err, "serve on 127.0.0.1")
	require.NoError(t, ctx.Err(), "it ends by itself")
}

// TestExitStatus: a script must not take a sync that waits for approval for done.
func TestExitStatus(t *testing.T) {
	require.Equal(t, 3, exitStatus(errHeld))
	require.Equal(t, 1, exitStatus(context.DeadlineExceeded))
}
