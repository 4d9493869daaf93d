package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/live/livetest"
)

// Redis is killed while it is read and written, and comes back with all, some or none of its data. Every answer is a
// state of the log; once the owner of the log has caught up, it is the newest.
func TestKilledRedis(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"without persistence": nil,
		"with append-only":    {"--appendonly", "yes", "--appendfsync", "everysec"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--dir", t.TempDir()}, args...)
			node := startRedis(t, freePort(t), args...)
			killAndRecover(t, live.Config{Addresses: []string{node.address}}, 3, func() {
				node.kill(t)
				node = startRedis(t, portOf(t, node), args...)
			})
		})
	}
	t.Run("a cluster's node", func(t *testing.T) {
		t.Parallel()
		nodes, _ := startCluster(t)
		killAndRecover(t, live.Config{Addresses: []string{nodes[0].address, nodes[1].address, nodes[2].address}}, 1, func() {
			nodes[1].kill(t)
			nodes[1] = startRedis(t, portOf(t, nodes[1]), nodes[1].args...)
		})
	})
}

// A cluster's node that restarts may have lost its last writes, and nothing in what it still holds would tell.
func TestRestartedClusterNode(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, "--appendonly", "yes", "--appendfsync", "always")
	s, err := live.Open(t.Context(), live.Config{Addresses: []string{nodes[0].address, nodes[1].address}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.Rebuild(t.Context(), 1, livetest.Members(nil)))
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), version)
	nodes[2].kill(t)
	_ = startRedis(t, portOf(t, nodes[2]), nodes[2].args...)
	require.Eventually(t, func() bool {
		_, err := s.Version(t.Context())
		return errors.Is(err, audience.ErrPrecondition)
	}, time.Minute, 50*time.Millisecond)
	_, err = s.Get(t.Context(), "a")
	require.ErrorIs(t, err, audience.ErrUnavailable)
}

// A Redis that is stopped keeps its connections and says nothing. A reader hears of it long before its own deadline, and
// reads again once it goes on.
func TestStoppedRedis(t *testing.T) {
	t.Parallel()
	node := startRedis(t, freePort(t))
	s, err := live.Open(t.Context(), live.Config{Addresses: []string{node.address}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.Rebuild(t.Context(), 1, livetest.Members(nil)))
	_, err = s.Get(t.Context(), "a")
	require.NoError(t, err)

	require.NoError(t, node.command.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, ask := range map[string]func() error{
		"get":   func() error { _, err := s.Get(ctx, "a"); return err },
		"batch": func() error { _, err := s.Batch(ctx, []audience.UserID{"a", "b"}); return err },
	} {
		var unavailable *audience.UnavailableError
		require.ErrorAs(t, ask(), &unavailable, name)
		require.Equal(t, "redis", unavailable.What, name)
		require.NoError(t, ctx.Err(), name)
	}
	require.NoError(t, node.command.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { _, err := s.Get(t.Context(), "a"); return err == nil }, time.Minute, 10*time.Millisecond)
}

func TestRedisThatEvictsIsWarnedOf(t *testing.T) {
	t.Parallel()
	for policy, warned := range map[string]bool{"noeviction": false, "volatile-lru": false, "allkeys-lru": true} {
		node := startRedis(t, freePort(t), "--maxmemory-policy", policy)
		var log bytes.Buffer
		s, err := live.Open(t.Context(), live.Config{Addresses: []string{node.address}}, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Equal(t, warned, strings.Contains(log.String(), "maxmemory-policy is="+policy), "%s: %s", policy, log.String())
	}
}

func portOf(t *testing.T, s *server) int {
	_, text, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	return port
}

// killAndRecover gives every user segment v at version v, kills in between, and recovers as the owner of a log does.
func killAndRecover(t *testing.T, config live.Config, kills int, kill func()) {
	const users = 200
	s, err := live.Open(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	state := func(v uint64) map[audience.UserID][]audience.Number {
		all := map[audience.UserID][]audience.Number{}
		for i := range users {
			all[audience.UserID(fmt.Sprint(i))] = []audience.Number{audience.Number(v)}
		}
		return all
	}
	steps := func(v uint64) (all []audience.Change) {
		for u, segments := range state(v) {
			all = append(all, audience.Change{Membership: audience.Membership{User: u, Segments: segments, Version: v}})
		}
		return all
	}
	recover := func(to uint64) {
		require.Eventually(t, func() bool {
			version, err := s.Version(t.Context())
			if err != nil {
				return s.Rebuild(t.Context(), to, livetest.Members(state(to))) == nil
			}
			for v := version + 1; v <= to; v++ {
				if s.Apply(t.Context(), steps(v)) != nil {
					return false
				}
			}
			return true
		}, time.Minute, 50*time.Millisecond)
	}
	recover(1)

	var readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for i := 0; ; i = (i + 1) % users {
			select {
			case <-done:
				return
			default:
			}
			got, err := s.Get(t.Context(), audience.UserID(fmt.Sprint(i)))
			if errors.Is(err, audience.ErrUnavailable) {
				continue
			}
			if err != nil || len(got.Segments) != 1 {
				t.Errorf("a user of one segment was read as %v, %v", got.Segments, err)
				return
			}
		}
	})
	version := uint64(1)
	for range kills {
		for range 20 {
			version++
			require.NoError(t, s.Apply(t.Context(), steps(version)))
		}
		kill()
		version++
		if err := s.Apply(t.Context(), steps(version)); err != nil {
			require.ErrorIs(t, err, audience.ErrUnavailable)
		}
		recover(version)
		for u, want := range state(version) {
			got, err := s.Get(t.Context(), u)
			require.NoError(t, err)
			require.True(t, slices.Equal(want, got.Segments))
		}
	}
	close(done)
	readers.Wait()
}
