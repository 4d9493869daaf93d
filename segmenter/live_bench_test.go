package segmenter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter"
)

// BenchmarkLive sends 2,000 events a second for each second of the benchmark, in calls of 20 as callers would, with 50
// segments over the usual history, and reports the time from the acknowledgement of events to their membership in Redis
// and, of those that change a membership, to the change on a watcher's stream.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run '^$' -bench Live$ -benchtime 30x
func BenchmarkLive(b *testing.B) {
	const perSecond, perCall = 2000, 20
	before := newHouse(b)
	before.fill(b, benchEvents(), benchUsers())
	before.rest(b)
	before.train(b, rfmBench)
	before.createMix(b, 50)
	h := &liveHouse{house: openHouse(b, before.dsn), clock: &settableClock{now: benchNow}} // as a service starts on what is there
	began := time.Now()
	h.start(b)
	defer h.stop()
	h.settle(b)
	b.ReportMetric(time.Since(began).Seconds(), "start-s")

	stream := watchArrivals(b, h)
	var mu sync.Mutex
	var took []float64
	var waiting sync.WaitGroup
	random := rand.New(rand.NewPCG(3, 4))
	id, mostUsers := 0, 0
	for b.Loop() {
		begin := time.Now()
		for call := range perSecond / perCall {
			h.clock.set(benchNow.Add(time.Since(began)))
			events := make([]audience.Event, perCall)
			for i := range events {
				id++
				events[i] = audience.Event{
					User: audience.UserID(fmt.Sprintf("user-%07d", random.IntN(benchUsers()))), ID: fmt.Sprintf("live-%d", id),
					Type: []string{"visit", "view", "purchase", "cart"}[random.IntN(4)], Time: h.clock.Now(), ValueMicros: 20e6,
				}
			}
			waiting.Go(func() {
				token := h.ingest(b, events...)
				acknowledged := time.Now()
				stream.expect(events, acknowledged)
				if err := h.Wait(b.Context(), token); err != nil {
					b.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(acknowledged).Seconds())
			})
			mostUsers = max(mostUsers, h.Lag().Users)
			time.Sleep(time.Until(begin.Add(time.Second * time.Duration(call+1) / (perSecond / perCall))))
		}
	}
	waiting.Wait()
	reportMillis(b, took, "redis")
	reportMillis(b, stream.end(), "stream")
	b.ReportMetric(float64(mostUsers), "most-waiting")
}

// reportMillis reports how long things took, in seconds, as milliseconds.
func reportMillis(b *testing.B, took []float64, of string) {
	b.Helper()
	require.NotEmpty(b, took)
	slices.Sort(took)
	b.ReportMetric(1000*took[len(took)/2], of+"-p50-ms")
	b.ReportMetric(1000*took[len(took)*99/100], of+"-p99-ms")
	b.ReportMetric(1000*took[len(took)-1], of+"-max-ms")
}

// arrivals is a watcher who knows when the events were acknowledged that may have led to a change.
type arrivals struct {
	mu           sync.Mutex
	acknowledged map[audience.UserID]time.Time
	took         []float64
	stop         func()
	stopped      chan struct{}
}

func watchArrivals(b *testing.B, h *liveHouse) *arrivals {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	a := &arrivals{acknowledged: map[audience.UserID]time.Time{}, stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(a.stopped)
		for change, err := range h.Watch(ctx, "", nil) {
			if err != nil {
				return
			}
			a.mu.Lock()
			if acknowledged, expected := a.acknowledged[change.User]; expected && change.Cause == segmenter.CauseEvent {
				a.took = append(a.took, time.Since(acknowledged).Seconds())
			}
			a.mu.Unlock()
		}
	}()
	return a
}

func (a *arrivals) expect(events []audience.Event, acknowledged time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range events {
		a.acknowledged[e.User] = acknowledged
	}
}

// end is what the changes took to arrive, in seconds.
func (a *arrivals) end() []float64 {
	a.stop()
	<-a.stopped
	return a.took
}
