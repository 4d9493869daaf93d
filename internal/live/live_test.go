package live_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/live/livetest"
)

func TestMiniredis(t *testing.T) {
	t.Parallel()
	livetest.Run(t, func(t *testing.T) livetest.Redis {
		m := miniredis.RunT(t)
		return livetest.Redis{
			Config: live.Config{Addresses: []string{m.Addr()}},
			Wipe:   m.FlushAll,
			Lose: func() {
				for _, key := range m.Keys() {
					if strings.Contains(key, ":m:") {
						m.Del(key)
						return
					}
				}
			},
		}
	})
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := startRedis(t, freePort(t), "--dir", t.TempDir())
	client := redis.NewClient(&redis.Options{Addr: server.address})
	t.Cleanup(func() { _ = client.Close() })
	livetest.Run(t, func(t *testing.T) livetest.Redis {
		wipe := func() { require.NoError(t, client.FlushAll(context.Background()).Err()) }
		wipe()
		return livetest.Redis{
			Config: live.Config{Addresses: []string{server.address}},
			Wipe:   wipe,
			Lose:   func() { lose(t, client) },
		}
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes, client := startCluster(t)
	livetest.Run(t, func(t *testing.T) livetest.Redis {
		wipe := func() {
			require.NoError(t, client.ForEachMaster(context.Background(), func(ctx context.Context, n *redis.Client) error {
				return n.FlushAll(ctx).Err()
			}))
		}
		wipe()
		return livetest.Redis{
			Config: live.Config{Addresses: []string{nodes[0].address, nodes[1].address}},
			Wipe:   wipe,
			Lose: func() {
				node := redis.NewClient(&redis.Options{Addr: nodes[1].address})
				defer func() { _ = node.Close() }()
				lose(t, node)
			},
		}
	})
}

// lose deletes one bucket.
func lose(t *testing.T, node *redis.Client) {
	keys := node.Scan(context.Background(), 0, "*:m:*", 1000).Iterator()
	require.True(t, keys.Next(context.Background()))
	require.NoError(t, node.Del(context.Background(), keys.Val()).Err())
}

// server is one redis-server process.
type server struct {
	address string
	args    []string
	command *exec.Cmd
}

// kill is kill -9.
func (s *server) kill(t *testing.T) {
	require.NoError(t, s.command.Process.Kill())
	_ = s.command.Wait()
}

// startRedis runs a redis-server that keeps nothing on disk unless args say so, and waits until it answers.
func startRedis(t testing.TB, port int, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		message := "redis-server is not on the path; install Debian's package redis-server"
		if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	s := &server{address: fmt.Sprintf("127.0.0.1:%d", port), args: args}
	s.command = exec.Command(path, append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", ""}, args...)...)
	require.NoError(t, s.command.Start())
	t.Cleanup(func() {
		_ = s.command.Process.Kill()
		_ = s.command.Wait()
	})
	client := redis.NewClient(&redis.Options{Addr: s.address})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool { return client.Ping(context.Background()).Err() == nil }, time.Minute, 10*time.Millisecond)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := engine.FreePort()
	require.NoError(t, err)
	return port
}

// startCluster runs a Redis Cluster of three masters.
func startCluster(t *testing.T, args ...string) ([]*server, *redis.ClusterClient) {
	t.Helper()
	ctx := context.Background()
	var nodes []*server
	var addresses []string
	for i := range 3 {
		node := startRedis(t, freeClusterPort(t), append([]string{"--dir", t.TempDir(), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}, args...)...)
		nodes, addresses = append(nodes, node), append(addresses, node.address)
		c := redis.NewClient(&redis.Options{Addr: node.address})
		defer func() { _ = c.Close() }()
		require.NoError(t, c.ClusterAddSlotsRange(ctx, i*16384/3, (i+1)*16384/3-1).Err())
		host, port, _ := net.SplitHostPort(nodes[0].address)
		require.NoError(t, c.ClusterMeet(ctx, host, port).Err())
	}
	for _, address := range addresses {
		c := redis.NewClient(&redis.Options{Addr: address})
		require.Eventually(t, func() bool {
			info, err := c.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")
		}, time.Minute, 50*time.Millisecond)
		require.NoError(t, c.Close())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	t.Cleanup(func() { _ = client.Close() })
	return nodes, client
}

// freeClusterPort is a port whose cluster bus, 10,000 above, is free, too.
func freeClusterPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := freePort(t)
		bus, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10_000))
		if err == nil {
			require.NoError(t, bus.Close())
			return port
		}
	}
	t.Fatal("no port whose cluster bus is free, too")
	return 0
}
