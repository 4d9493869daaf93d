package live_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
)

// Users of 12-character ids, each in 4 of 50 segments.
const benchUsers = 1_000_000

func benchUser(i int) audience.UserID { return audience.UserID(fmt.Sprintf("u%011d", i)) }

func benchMembers(users int) iter.Seq2[audience.Membership, error] {
	return func(yield func(audience.Membership, error) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for i := range users {
			segments := make([]audience.Number, 4)
			for j, n := range random.Perm(50)[:4] {
				segments[j] = audience.Number(n + 1)
			}
			slices.Sort(segments)
			if !yield(audience.Membership{User: benchUser(i), Segments: segments}, nil) {
				return
			}
		}
	}
}

func benchStore(b *testing.B) (*live.Store, *redis.Client) {
	server := startRedis(b, freePort(b), "--dir", b.TempDir())
	client := redis.NewClient(&redis.Options{Addr: server.address})
	b.Cleanup(func() { _ = client.Close() })
	s, err := live.Open(b.Context(), live.Config{Addresses: []string{server.address}}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	return s, client
}

// usedMemory is what Redis says its data and indexes take, without buffers of connections.
func usedMemory(b *testing.B, client *redis.Client) float64 {
	info, err := client.InfoMap(context.Background(), "memory").Result()
	require.NoError(b, err)
	used, err := strconv.ParseFloat(info["Memory"]["used_memory_dataset"], 64)
	require.NoError(b, err)
	overhead, err := strconv.ParseFloat(info["Memory"]["used_memory_overhead"], 64)
	require.NoError(b, err)
	return used + overhead
}

// BenchmarkRebuild reports users/s and what a user takes in Redis, keys and all.
func BenchmarkRebuild(b *testing.B) {
	s, client := benchStore(b)
	require.NoError(b, s.Rebuild(b.Context(), 1, benchMembers(1)))
	empty := usedMemory(b, client)
	for b.Loop() {
		require.NoError(b, s.Rebuild(b.Context(), 1, benchMembers(benchUsers)))
	}
	b.ReportMetric((usedMemory(b, client)-empty)/benchUsers, "B/user")
	b.ReportMetric(float64(b.N)*benchUsers/b.Elapsed().Seconds(), "users/s")
}

// BenchmarkGet is beside a bare HGET of a key of the same server, by as many callers.
func BenchmarkGet(b *testing.B) {
	s, client := benchStore(b)
	require.NoError(b, s.Rebuild(b.Context(), 1, benchMembers(benchUsers)))
	require.NoError(b, client.HSet(b.Context(), "bare", "field", "abcd").Err())
	for name, ask := range map[string]func() error{
		"hget": func() error { return client.HGet(context.Background(), "bare", "field").Err() },
		"get": func() error {
			_, err := s.Get(context.Background(), benchUser(rand.IntN(benchUsers)))
			return err
		},
		"batch-100": func() error {
			users := make([]audience.UserID, 100)
			for i := range users {
				users[i] = benchUser(rand.IntN(benchUsers))
			}
			_, err := s.Batch(context.Background(), users)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(25)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := ask(); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkApply steps 1,000 users a call, each to another four segments.
func BenchmarkApply(b *testing.B) {
	s, _ := benchStore(b)
	require.NoError(b, s.Rebuild(b.Context(), 1, benchMembers(benchUsers)))
	version := uint64(1)
	for b.Loop() {
		version++
		steps := make([]audience.Change, 1000)
		for i := range steps {
			steps[i].Membership = audience.Membership{User: benchUser(rand.IntN(benchUsers)), Segments: []audience.Number{3, 7, 21, 40}, Version: version}
		}
		require.NoError(b, s.Apply(b.Context(), steps))
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "users/s")
}
