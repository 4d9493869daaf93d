package segmenter_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter"
)

// BenchmarkTimers has a timer for everybody pending, the visits of all being spread over the last hour and the segment
// holding for an hour after them. It reports how long after its instant each change of the benchmark's seconds is seen by a
// watcher, and then, the service having been down for five seconds more, how long after its start the changes of these
// seconds are made good.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run '^$' -bench Timers -benchtime 30x
func BenchmarkTimers(b *testing.B) {
	const down = 5 * time.Second
	users := benchUsers()
	h := &liveHouse{house: newHouse(b)}
	begin := time.Now().Truncate(time.Millisecond)
	due := func(user int) time.Time {
		return begin.Add(time.Duration(int64(user)*3600000/int64(users)) * time.Millisecond)
	}
	for _, statement := range []string{
		"INSERT INTO events (user_id, event_id, type, time) SELECT concat('user-', leftPad(toString(number), 7, '0')), 'visit', 'visit', " +
			fmt.Sprintf("fromUnixTimestamp64Milli(toInt64(%d + number * 3600000 / %d)) FROM numbers(%d)", begin.Add(-time.Hour).UnixMilli(), users, users),
		"INSERT INTO users SELECT user_id FROM events",
	} {
		require.NoError(b, h.store.Exec(b.Context(), audience.Query{SQL: statement}))
	}
	_, err := h.store.Segments().Create(b.Context(), audience.Segment{ID: "lately", Expression: `did("visit", "1h")`})
	require.NoError(b, err)

	h.run(b)
	h.settle(b)
	watched := watchLeaving(b, h)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	left := watched.end()
	b.ReportMetric(float64(len(left))/b.Elapsed().Seconds(), "changes/s")
	var late []float64
	for user, at := range left {
		late = append(late, at.Sub(due(user)).Seconds())
	}
	reportMillis(b, late, "late")

	h.stop()
	stopped := time.Now()
	time.Sleep(down)
	h.Segmenter = segmenter.New(h.Deps)
	watched = watchLeaving(b, h)
	started := time.Now()
	h.run(b)
	defer h.stop()
	h.settle(b)
	late = nil
	for user, at := range watched.end() {
		if due(user).After(stopped) && due(user).Before(started) {
			late = append(late, at.Sub(started).Seconds())
		}
	}
	reportMillis(b, late, "after-downtime")
}

// run runs the segmenter by the machine's clock.
func (h *liveHouse) run(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(b, <-ended)
	})
}

// leaving is a watcher who notes when users leave.
type leaving struct {
	at      map[int]time.Time
	stop    func()
	stopped chan struct{}
}

func watchLeaving(b *testing.B, h *liveHouse) *leaving {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	l := &leaving{at: map[int]time.Time{}, stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(l.stopped)
		for change, err := range h.Watch(ctx, "", nil) {
			var user int
			if err != nil {
				return
			}
			if _, err := fmt.Sscanf(string(change.User), "user-%d", &user); err != nil {
				b.Error(err)
				return
			}
			if len(change.Left) > 0 {
				l.at[user] = time.Now()
			}
		}
	}()
	return l
}

// end is when each user left.
func (l *leaving) end() map[int]time.Time {
	l.stop()
	<-l.stopped
	return l.at
}
