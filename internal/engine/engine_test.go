package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDataSurvivesKillOfEverything(t *testing.T) {
	dir := t.TempDir()
	killed := startHelper(t, dir)
	conn, client := openClickHouse(t, killed.clickhouse), openRedis(t, killed.redis)
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE kept (id UInt64) ENGINE = MergeTree ORDER BY id"))
	require.NoError(t, conn.Exec(t.Context(), "INSERT INTO kept SELECT number FROM numbers(1000)"))
	require.NoError(t, client.Set(t.Context(), "kept", "yes", 0).Err())
	killed.kill()

	// No waiting here: the start itself has to wait until the killed process' children are gone.
	engines := startEngines(t, Config{Dir: dir})
	for _, pid := range killed.pids {
		require.False(t, alive(pid), "a child outlived its parent, and a second one was started beside it")
	}
	var rows uint64
	require.NoError(t, openClickHouse(t, engines.ClickHouse()).QueryRow(t.Context(), "SELECT count() FROM kept").Scan(&rows))
	require.EqualValues(t, 1000, rows)
	kept, err := openRedis(t, engines.Redis()).Get(t.Context(), "kept").Result()
	require.NoError(t, err)
	require.Equal(t, "yes", kept)
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	killed := startHelper(t, t.TempDir())
	for _, pid := range killed.pids {
		require.True(t, alive(pid))
	}
	killed.kill()
	for _, pid := range killed.pids {
		eventually(t, "the child is gone", func() bool { return !alive(pid) })
	}
}

func TestDirectoryServesOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	holder := startHelper(t, dir)
	began := time.Now()
	_, err := Start(t.Context(), Config{Dir: dir, Log: quiet()})
	require.EqualError(t, err, fmt.Sprintf("data directory %s is in use by process %d: stop that process, or choose another dir", dir, holder.cmd.Process.Pid))
	require.Less(t, time.Since(began), successionWait, "a living holder is not waited for")
}

func TestKilledChildIsStartedAgainAtItsAddress(t *testing.T) {
	running := startHelper(t, t.TempDir())
	conn, client := openClickHouse(t, running.clickhouse), openRedis(t, running.redis)
	for _, pid := range running.pids {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, "the child is gone", func() bool { return !alive(pid) })
	}
	eventually(t, "ClickHouse answers again", func() bool { return conn.Ping(t.Context()) == nil })
	eventually(t, "Redis answers again", func() bool { return client.Ping(t.Context()).Err() == nil })
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	engines := startEngines(t, Config{Dir: dir})
	ran := make(chan error, 1)
	go func() { ran <- engines.Run(context.Background()) }()
	options, err := clickhouse.ParseDSN(engines.ClickHouse())
	require.NoError(t, err)

	began := time.Now()
	require.NoError(t, engines.Close())
	require.Less(t, time.Since(began), stopGrace, "the children ended when asked")
	require.NoError(t, <-ran, "to be closed is no failure")
	_, err = net.Dial("tcp", options.Addr[0])
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, engines.Close(), "closing twice is harmless")
	startEngines(t, Config{Dir: dir})
}

func TestRunEndsWithItsContext(t *testing.T) {
	engines := startEngines(t, Config{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, engines.Run(ctx))
	require.NoError(t, openClickHouse(t, engines.ClickHouse()).Ping(t.Context()), "Run stops nothing")
}

func TestStartErrorsNameTheRemedy(t *testing.T) {
	requireEngines(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("not a library"), 0o600))
	dir := t.TempDir()

	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"no directory", Config{}, []string{"dir: required"}},
		{"no such ports", Config{Dir: dir, ClickHousePort: 65536, RedisPort: -1}, []string{"clickhouse_port: 65536 is no port", "redis_port: -1 is no port"}},
		{"negative time", Config{Dir: dir, StartTimeout: -time.Second}, []string{"start_timeout: -1s is negative"}},
		{"directory below a file", Config{Dir: filepath.Join(file, "data")}, []string{"cannot be written", "not a directory", "choose another dir"}},
		{"library missing", Config{Dir: dir, ClickHouseLibrary: "/nowhere/libchdb.so"}, []string{"clickhouse_library names /nowhere/libchdb.so", "npm ci"}},
		{"no library", Config{Dir: dir, ClickHouseLibrary: file}, []string{"ClickHouse died", "load " + file, "clickhouse.log"}},
		{"ClickHouse's port taken", Config{Dir: dir, ClickHousePort: port}, []string{fmt.Sprintf("clickhouse_port: port %d cannot be used", port), "0 takes a free one"}},
		{"Redis' port taken", Config{Dir: dir, RedisPort: port}, []string{fmt.Sprintf("redis_port: port %d cannot be used", port), "0 takes a free one"}},
		{"no time to start", Config{Dir: dir, StartTimeout: time.Nanosecond}, []string{"did not answer within 1ns"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Log = quiet()
			_, err := Start(t.Context(), test.cfg)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	startEngines(t, Config{Dir: dir}) // no failed start has left the directory locked or a child running
}

func TestAnEngineWhosePortIsTakenMeanwhileTakesAnother(t *testing.T) {
	requireEngines(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	taken := other.Addr().(*net.TCPAddr).Port

	// Each engine's first free port is one that another program takes between the choice and the start.
	tries := func(start func(port int) error) func(port int) error {
		first := true
		return func(port int) error {
			if !first {
				return start(port)
			}
			first = false
			err := start(taken)
			assert.True(t, errors.Is(err, errPortTaken) && strings.Contains(err.Error(), "died"), "%v, rather than wait for it", err)
			return err
		}
	}
	engines, err := start(t.Context(), Config{Dir: t.TempDir(), Log: quiet()},
		func(l *launcher, ctx context.Context) error {
			found, err := findClickHouse(ctx, "")
			if err != nil {
				return err
			}
			dir, err := l.subdirectory("clickhouse")
			if err != nil {
				return err
			}
			return onPort("clickhouse_port", 0, tries(func(port int) error { return l.clickhouseOn(ctx, found, dir, port) }))
		},
		func(l *launcher, ctx context.Context) error {
			return onPort("redis_port", 0, tries(func(port int) error { return l.redisOn(ctx, port) }))
		})
	require.NoError(t, err)
	defer engines.Close()
	require.NoError(t, openClickHouse(t, engines.ClickHouse()).Ping(t.Context()))
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	requireEngines(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, Config{Dir: t.TempDir(), Log: quiet()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNoOneReadsWithoutThePassword(t *testing.T) {
	engines := startEngines(t, Config{Dir: t.TempDir()})
	require.NoError(t, openClickHouse(t, engines.ClickHouse()).Exec(t.Context(), "CREATE TABLE kept (id UInt64) ENGINE = MergeTree ORDER BY id"))
	options, err := clickhouse.ParseDSN(engines.ClickHouse())
	require.NoError(t, err)
	stranger, err := clickhouse.Open(&clickhouse.Options{Addr: options.Addr})
	require.NoError(t, err)
	defer stranger.Close()
	for _, query := range []string{"SELECT * FROM kohorta.kept", "SELECT * FROM file('/etc/hostname', 'LineAsString')", "CREATE DATABASE mine"} {
		require.ErrorContains(t, stranger.Exec(t.Context(), query), "Not enough privileges", query)
	}
}

func TestLogsAndFilesKeepThePasswordFromOthers(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	engines := startEngines(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	options, err := clickhouse.ParseDSN(engines.ClickHouse())
	require.NoError(t, err)
	require.NotContains(t, log.String(), options.Auth.Password)
	for _, name := range []string{"clickhouse/config.xml", "clickhouse/users.xml", "clickhouse/clickhouse.log", "redis/redis.log", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

func TestRedisWithoutAServerRunsInProcess(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var log bytes.Buffer
	engines, err := StartRedis(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	require.Contains(t, log.String(), "no redis-server on PATH")
	client := openRedis(t, engines.Redis())
	require.NoError(t, client.Set(t.Context(), "lease", "mine", 50*time.Millisecond).Err())
	eventually(t, "the lease runs out by the clock", func() bool { return client.Exists(t.Context(), "lease").Val() == 0 })
	require.NoError(t, engines.Close())
	_, err = net.Dial("tcp", client.Options().Addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
