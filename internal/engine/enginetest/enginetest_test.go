package enginetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

func TestClickHouseGivesEachCallerADatabaseOfItsOwn(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		options, err := clickhouse.ParseDSN(enginetest.ClickHouse(t))
		require.NoError(t, err)
		conn, err := clickhouse.Open(options)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.Exec(ctx, "CREATE TABLE only_here (id UInt64) ENGINE = MergeTree ORDER BY id"))
		require.NoError(t, conn.Exec(ctx, "INSERT INTO only_here VALUES (1)"))
		var rows uint64
		require.NoError(t, conn.QueryRow(ctx, "SELECT count() FROM only_here").Scan(&rows))
		require.EqualValues(t, 1, rows)
	}
}

func TestADeadClickHouseIsWaitedFor(t *testing.T) {
	enginetest.ClickHouse(t)
	children, err := exec.Command("ps", "-o", "pid=,args=", "--ppid", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		t.Skipf("this ps cannot list the children of a process: %v", err)
	}
	killed := 0
	for line := range strings.Lines(string(children)) {
		if fields := strings.Fields(line); fields[1] == "clickhouse" {
			pid, err := strconv.Atoi(fields[0])
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, time.Minute, time.Millisecond)
			killed++
		}
	}
	require.Equal(t, 1, killed)
	options, err := clickhouse.ParseDSN(enginetest.ClickHouse(t))
	require.NoError(t, err)
	conn, err := clickhouse.Open(options)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Ping(t.Context()))
}

func TestRedisGivesEachCallerAServerOfItsOwn(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		options, err := redis.ParseURL(enginetest.Redis(t))
		require.NoError(t, err)
		client := redis.NewClient(options)
		t.Cleanup(func() { _ = client.Close() })
		existed, err := client.Exists(ctx, "only here").Result()
		require.NoError(t, err)
		require.Zero(t, existed)
		require.NoError(t, client.Set(ctx, "only here", 1, 0).Err())
	}
}
