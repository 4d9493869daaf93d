// Package enginetest gives tests real engines: a ClickHouse shared by the whole test binary, with a fresh database for each caller, and a
// Redis server for each caller. No TestMain is needed. A machine without them skips the test; REQUIRE_SERVERS=1 or CI=true makes that a failure.
package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kohorta/kohorta/internal/engine"
)

// restart is the most that starting ClickHouse again may take.
const restart = time.Minute

// The ClickHouse child is this test binary, started again.
func init() { engine.RunChild() }

// ClickHouse returns the DSN of a fresh database in a real ClickHouse; the database is dropped when t ends.
func ClickHouse(t testing.TB) (dsn string) {
	t.Helper()
	server, err := shared()
	if errors.Is(err, engine.ErrMissing) {
		skip(t, err.Error())
	}
	if err != nil {
		t.Fatalf("start ClickHouse: %v", err)
	}
	await(t, server)
	name := "test_" + strings.ToLower(rand.Text())
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE "+name+" SYNC") })

	address, err := url.Parse(server)
	if err != nil {
		t.Fatalf("ClickHouse's address: %v", err)
	}
	address.Path = "/" + name
	return address.String()
}

// Redis returns the URL of an empty Redis server of t's own, which is stopped when t ends.
func Redis(t testing.TB) (address string) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		skip(t, "no redis-server on PATH: install the package redis-server")
	}
	engines, err := engine.StartRedis(context.Background(), engine.Config{Dir: t.TempDir(), Log: deaths()})
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	t.Cleanup(func() {
		if err := engines.Close(); err != nil {
			t.Errorf("stop Redis: %v", err)
		}
	})
	return engines.Redis()
}

// shared starts the one ClickHouse of this test binary. It ends with the process; its directory is removed after it. As no test
// cuts the power, files are not synced, unless a benchmark is to pay for it as a service does: KOHORTA_SYNC=1.
var shared = sync.OnceValues(func() (dsn string, err error) {
	dir, err := os.MkdirTemp("", "kohorta-clickhouse-")
	if err != nil {
		return "", err
	}
	if err := removeAtExit(dir); err != nil {
		return "", err
	}
	engines, err := engine.StartClickHouse(context.Background(), engine.Config{Dir: dir, NoSync: os.Getenv("KOHORTA_SYNC") == "", Log: deaths()})
	if err != nil {
		return "", err
	}
	return engines.ClickHouse(), nil
})

// removeAtExit lets a shell wait until this process is gone, ClickHouse a moment to follow it, and then remove dir.
func removeAtExit(dir string) error {
	alive, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer alive.Close()
	remove := exec.Command("sh", "-c", `cat >/dev/null; sleep 1; rm -rf -- "$1"`, "sh", dir)
	remove.Stdin = alive
	remove.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := remove.Start(); err != nil {
		return err
	}
	go func() { _ = remove.Wait(); ours.Close() }() // the shell waits for our end of the pipe, which thus stays open until we are gone
	return nil
}

// await waits for a ClickHouse that has died under an earlier test, and is being started again.
func await(t testing.TB, dsn string) {
	t.Helper()
	conn := open(t, dsn)
	defer conn.Close()
	deadline := time.Now().Add(restart)
	for err := conn.Ping(context.Background()); err != nil; err = conn.Ping(context.Background()) {
		if time.Now().After(deadline) {
			t.Fatalf("ClickHouse has not answered for %s: %v", restart, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func execute(t testing.TB, dsn, query string) {
	t.Helper()
	conn := open(t, dsn)
	defer conn.Close()
	err := conn.Exec(context.Background(), query)
	for began := time.Now(); isFilling(err) && time.Since(began) < restart; err = conn.Exec(context.Background(), query) {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// isFilling reports whether a database cannot be dropped because of a table that appears in it: one that was being made when its test gave up
// waiting for that.
func isFilling(err error) bool {
	const databaseNotEmpty = 219
	var refused *clickhouse.Exception
	return errors.As(err, &refused) && refused.Code == databaseNotEmpty
}

func open(t testing.TB, dsn string) clickhouse.Conn {
	t.Helper()
	options, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatalf("parse ClickHouse's address: %v", err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatalf("open ClickHouse: %v", err)
	}
	return conn
}

func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
		t.Fatalf("%s (required here by REQUIRE_SERVERS=1 or CI=true)", reason)
	}
	t.Skip(reason)
}

// deaths prints that an engine has died, with the end of its log: the tests that were using it fail for that reason.
func deaths() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
