package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// asKohorta makes this test binary be the command.
const asKohorta = "KOHORTA_TEST_MAIN"

func TestMain(m *testing.M) {
	engine.RunChild()
	if os.Getenv(asKohorta) == "1" {
		os.Exit(execute())
	}
	os.Exit(m.Run())
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// startService runs a service on engines shared with other tests, in a database and a Redis of its own, until t ends.
func startService(t *testing.T) *service {
	t.Helper()
	s, _ := startConfigured(t, testConfig(t))
	return s
}

// testConfig has a database and a Redis of its own, in engines shared with other tests.
func testConfig(t *testing.T) Config {
	t.Helper()
	redis, err := embeddedRedis(enginetest.Redis(t))
	require.NoError(t, err)
	config := Config{
		Listen: "127.0.0.1:0", SecretsDir: secretsOfSandbox(t), DataDir: t.TempDir(), ShutdownGrace: time.Second,
		ClickHouse: warehouse.Config{DSN: enginetest.ClickHouse(t)},
		Redis:      redis,
	}
	config.setDefaults()
	config.ReadElsewhere = 0 // one process at a time, but where a test says otherwise
	require.NoError(t, config.Validate())
	return config
}

// startConfigured runs a service until stop is called, or t ends.
func startConfigured(t *testing.T, config Config) (_ *service, stop func()) {
	t.Helper()
	started, stopping, ended := make(chan *service, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- withService(context.Background(), config, quiet(), func(_ context.Context, s *service) error {
			started <- s
			<-stopping
			return nil
		})
	}()
	select {
	case s := <-started:
		stop = sync.OnceFunc(func() {
			close(stopping)
			require.NoError(t, <-ended)
		})
		t.Cleanup(stop)
		return s, stop
	case err := <-ended:
		require.NoError(t, err)
		return nil, nil
	}
}

// secretsOfSandbox is a directory with what opens the sandbox.
func secretsOfSandbox(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range demoSecrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600))
	}
	return dir
}

// startPlatforms runs stand-ins of both platforms without quotas.
func startPlatforms(t *testing.T) (*sandbox.Server, string) {
	t.Helper()
	platforms := sandbox.New(sandbox.Config{QuotasOff: true})
	server := httptest.NewServer(platforms.Handler())
	t.Cleanup(server.Close)
	return platforms, server.URL
}

// kohorta runs a command line against the service at address and returns what it wrote.
func kohorta(t *testing.T, address string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetIn(strings.NewReader(""))
	root.SetArgs(append([]string{"--server", address}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// write makes a file with the text and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}
