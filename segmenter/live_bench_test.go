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
	h := &liveHouse{house: newHouse(b), clock: &settableClock{now: benchNow}}
	h.fill(b, benchEvents(), benchUsers())
	h.train(b, rfmBench)
	for i := range 50 {
		_, err := h.store.Segments().Create(b.Context(), audience.Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i)), Expression: mix(i)})
		require.NoError(b, err)
	}
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

// BenchmarkTimers has a timer for everybody, the visits of all being spread over the last hour and the segment holding
// for an hour after them, and reports how long after its instant each change of the benchmark's seconds is seen by a watcher.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run '^$' -bench Timers -benchtime 30x
func BenchmarkTimers(b *testing.B) {
	users := benchUsers()
	h := &liveHouse{house: newHouse(b)}
	begin := time.Now()
	for _, statement := range []string{
		"INSERT INTO events (user_id, event_id, type, time) SELECT concat('user-', leftPad(toString(number), 7, '0')), 'visit', 'visit', " +
			fmt.Sprintf("fromUnixTimestamp64Milli(toInt64(%d + number * 3600000 / %d)) FROM numbers(%d)", begin.Add(-time.Hour).UnixMilli(), users, users),
		"INSERT INTO users SELECT user_id FROM events",
	} {
		require.NoError(b, h.store.Exec(b.Context(), audience.Query{SQL: statement}))
	}
	_, err := h.store.Segments().Create(b.Context(), audience.Segment{ID: "lately", Expression: `did("visit", "1h")`})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.settle(b)

	var late []float64
	watching, endWatch := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for change, err := range h.Watch(watching, "", nil) {
			if err != nil {
				return
			}
			var number int
			if _, err := fmt.Sscanf(string(change.User), "user-%d", &number); err != nil {
				b.Error(err)
				return
			}
			due := begin.Truncate(time.Millisecond).Add(time.Duration(int64(number)*3600000/int64(users)) * time.Millisecond)
			late = append(late, time.Since(due).Seconds())
		}
	}()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	endWatch()
	<-done
	cancel()
	require.NoError(b, <-ended)
	b.ReportMetric(float64(len(late))/b.Elapsed().Seconds(), "changes/s")
	reportMillis(b, late, "late")
}
