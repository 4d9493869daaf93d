package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// helperEnv makes this test binary a process that starts both engines in the directory named by it, and waits to be killed.
const helperEnv = "KOHORTA_ENGINE_TEST_DIR"

func TestMain(m *testing.M) {
	RunChild()
	if dir := os.Getenv(helperEnv); dir != "" {
		help(dir)
	}
	os.Exit(m.Run())
}

// help prints one JSON line of facts for each engine that answers, then one with the addresses.
func help(dir string) {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	engines, err := Start(context.Background(), Config{Dir: dir, Log: log})
	if err != nil {
		log.Error("engines do not start", "error", err)
		os.Exit(1)
	}
	log.Info("ready", "clickhouse", engines.ClickHouse(), "redis", engines.Redis())
	_ = engines.Run(context.Background())
	os.Exit(1)
}

// helper is a process that runs both engines, and what it has said of them.
type helper struct {
	cmd               *exec.Cmd
	pids              []int // of the two children
	clickhouse, redis string
}

func startHelper(t *testing.T, dir string) *helper {
	t.Helper()
	requireEngines(t)
	h := &helper{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	output, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() { h.kill() })
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var said struct {
			Msg, ClickHouse, Redis string
			PID                    int
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &said))
		switch said.Msg {
		case "engine answers":
			h.pids = append(h.pids, said.PID)
		case "ready":
			h.clickhouse, h.redis = said.ClickHouse, said.Redis
			require.Len(t, h.pids, 2)
			return h
		}
	}
	t.Fatal("the helper process ended before its engines answered")
	return nil
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// requireEngines skips the test on a machine without the two engines, unless they are required there.
func requireEngines(t *testing.T) {
	t.Helper()
	_, noClickHouse := findClickHouse(t.Context(), "")
	_, noRedis := exec.LookPath("redis-server")
	if err := errors.Join(noClickHouse, noRedis); err != nil {
		if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
			t.Fatalf("engines are required here: %v", err)
		}
		t.Skipf("needs both engines: %v", err)
	}
}

func startEngines(t *testing.T, cfg Config) *Engines {
	t.Helper()
	requireEngines(t)
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	engines, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engines.Close()) })
	return engines
}

func openClickHouse(t *testing.T, dsn string) clickhouse.Conn {
	t.Helper()
	options, err := clickhouse.ParseDSN(dsn)
	require.NoError(t, err)
	conn, err := clickhouse.Open(options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func openRedis(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, time.Minute, 10*time.Millisecond, what)
}

// alive tells whether the process still runs; one that has ended but whom nobody has waited for does not.
func alive(pid int) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(string(state), "Z")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
