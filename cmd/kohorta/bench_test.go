package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/warehouse"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// benchSize is how many users a benchmark has and how long it measures each call.
func benchSize() (users int, each time.Duration) {
	if os.Getenv("KOHORTA_BENCH") == "1" {
		return 1_000_000, 5 * time.Second
	}
	return 20_000, 300 * time.Millisecond
}

func benchUser(i int) string { return fmt.Sprintf("user-%07d", i) }

// benchService runs a whole service whose users are each in 4 of 50 segments, and in those of more that hold of them.
func benchService(b *testing.B, users int, more ...audience.Segment) *client {
	b.Helper()
	address, err := url.Parse(enginetest.Redis(b))
	require.NoError(b, err)
	password, _ := address.User.Password()
	config := Config{
		Listen: "127.0.0.1:0", ClickHouse: warehouse.Config{DSN: enginetest.ClickHouse(b)},
		Redis: live.Config{Addresses: []string{address.Host}, Password: password},
	}
	config.setDefaults()
	s, err := newService(b.Context(), config, quiet())
	require.NoError(b, err)

	for _, statement := range []string{
		`INSERT INTO users SELECT concat('user-', leftPad(toString(number), 7, '0')) FROM numbers({users:UInt64})`,
		`INSERT INTO profiles (user_id, version, numbers, update_time)
		 SELECT user_id, 1, map('a', h % 12, 'b', 12 + h % 13, 'c', 25 + h % 11, 'd', 36 + h % 14), now64(3)
		 FROM (SELECT user_id, toFloat64(cityHash64(user_id) % 1000000) AS h FROM users)`,
	} {
		require.NoError(b, s.store.Exec(b.Context(), audience.Query{SQL: statement, Params: map[string]any{"users": uint64(users)}}))
	}
	for i := range 50 {
		_, err := s.store.Segments().Create(b.Context(), audience.Segment{ID: audience.SegmentID(fmt.Sprintf("segment-%d", i)),
			Expression: fmt.Sprintf(`attr["a"] == %[1]d || attr["b"] == %[1]d || attr["c"] == %[1]d || attr["d"] == %[1]d`, i)})
		require.NoError(b, err)
	}
	for _, segment := range more {
		_, err := s.store.Segments().Create(b.Context(), segment)
		require.NoError(b, err)
	}

	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	c, err := dial(s.address())
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, c.conn.Close())
		stop()
		require.NoError(b, <-ended)
		require.NoError(b, s.close())
	})
	evaluation, err := c.segments.EvaluateSegments(b.Context(), &audiencev1.EvaluateSegmentsRequest{})
	require.NoError(b, err)
	_, err = c.watch(b.Context(), io.Discard, evaluation.GetRun().GetName())
	require.NoError(b, err)
	for _, table := range []string{"members", "membership_changes"} { // else ClickHouse merges what that has written beside what is measured
		require.NoError(b, s.store.Exec(b.Context(), audience.Query{SQL: "OPTIMIZE TABLE " + table + " FINAL"}))
	}
	return c
}

// measured is how calls of 50 callers went.
type measured struct {
	perSecond float64
	took      []time.Duration // of each call, ascending
}

func (m measured) quantile(q float64) float64 {
	return float64(m.took[int(q*float64(len(m.took)-1))].Microseconds()) / 1000
}

// call lets 50 callers call one after the other for so long.
func call(b *testing.B, each time.Duration, do func(random *rand.Rand) error) measured {
	b.Helper()
	const callers = 50
	var wg sync.WaitGroup
	took, errs := make([][]time.Duration, callers), make([]error, callers)
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for at := began; at.Sub(began) < each && errs[i] == nil; {
				errs[i] = do(random)
				now := time.Now()
				took[i], at = append(took[i], now.Sub(at)), now
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	for _, err := range errs {
		require.NoError(b, err)
	}
	slices.Sort(all)
	return measured{perSecond: float64(len(all)) / time.Since(began).Seconds(), took: all}
}

// BenchmarkLookup asks for the membership of random users, beside an empty call of the same server (its health), in turn
// within one run, from 50 callers on one connection, with server, Redis and callers on the same cores.
//
//	KOHORTA_BENCH=1 go test ./cmd/kohorta -run - -bench Lookup -benchtime 3x
func BenchmarkLookup(b *testing.B) {
	users, each := benchSize()
	c := benchService(b, users)
	health := healthv1.NewHealthClient(c.conn)
	empty := func(*rand.Rand) error {
		_, err := health.Check(b.Context(), &healthv1.HealthCheckRequest{})
		return err
	}
	lookup := func(random *rand.Rand) error {
		answer, err := c.memberships.GetMembership(b.Context(), &audiencev1.GetMembershipRequest{UserId: benchUser(random.IntN(users))})
		if err == nil && len(answer.GetMembership().GetSegments()) != 4 {
			return fmt.Errorf("%d segments instead of 4", len(answer.GetMembership().GetSegments()))
		}
		return err
	}
	const batch = 100
	batched := func(random *rand.Rand) error {
		ids := make([]string, batch)
		for i := range ids {
			ids[i] = benchUser(random.IntN(users))
		}
		answer, err := c.memberships.BatchGetMembership(b.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: ids})
		if err == nil && len(answer.GetMemberships()) != batch {
			return fmt.Errorf("%d memberships instead of %d", len(answer.GetMemberships()), batch)
		}
		return err
	}
	call(b, each/5, lookup) // connections, and what is made on first use

	var bare, one, many []measured
	for b.Loop() {
		bare, one, many = append(bare, call(b, each, empty)), append(one, call(b, each, lookup)), append(many, call(b, each, batched))
	}
	bySpeed := func(runs []measured) measured {
		slices.SortFunc(runs, func(x, y measured) int { return int(x.perSecond - y.perSecond) })
		return runs[len(runs)/2]
	}
	e, o, m := bySpeed(bare), bySpeed(one), bySpeed(many)
	b.ReportMetric(0, "ns/op") // a round of all three says nothing
	b.ReportMetric(e.perSecond, "empty/s")
	b.ReportMetric(e.quantile(0.5), "empty-p50-ms")
	b.ReportMetric(e.quantile(0.99), "empty-p99-ms")
	b.ReportMetric(o.perSecond, "lookups/s")
	b.ReportMetric(o.quantile(0.5), "lookup-p50-ms")
	b.ReportMetric(o.quantile(0.99), "lookup-p99-ms")
	b.ReportMetric(o.perSecond/e.perSecond, "lookup/empty")
	b.ReportMetric(batch*m.perSecond, "batched-users/s")
	b.ReportMetric(m.quantile(0.5), "batch-p50-ms")
	b.ReportMetric(m.quantile(0.99), "batch-p99-ms")
}
