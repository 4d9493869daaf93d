package main

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/warehouse"
)

// TestServiceEndsWhenItCannotServe: a process that answers nobody is restarted only if it ends.
func TestServiceEndsWhenItCannotServe(t *testing.T) {
	address, err := url.Parse(enginetest.Redis(t))
	require.NoError(t, err)
	password, _ := address.User.Password()
	config := Config{
		Listen: "127.0.0.1:0", SecretsDir: t.TempDir(), DataDir: t.TempDir(), ShutdownGrace: time.Second,
		ClickHouse: warehouse.Config{DSN: enginetest.ClickHouse(t)},
		Redis:      live.Config{Addresses: []string{address.Host}, Password: password},
	}
	config.setDefaults()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = withService(ctx, config, quiet(), func(ctx context.Context, s *service) error {
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
