package segmenter

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

const (
	// timersAhead is how much of the future is in memory after a reading, timersLeft how much is left when more is read.
	timersAhead = 30 * time.Second
	timersLeft  = 20 * time.Second
	// timersHeld is how many new ones wait to be written at most.
	timersHeld = 100_000
	// timersKept is how long past ones stay in the database; they are removed by the hour.
	timersKept = time.Hour
)

// timers are the instants at which time alone may change somebody's membership. All but the newest are in the database; those
// of the next half minute are in memory, so that the cost does not grow with their number. The newest are written together, when
// more is read: one that is lost with the process is found again by the next process's evaluation of everybody.
//
// The horizon moves before the database is read up to it, and what is new is written before. So a timer that the reading
// misses finds the new horizon, and none is lost between the two.
type timers struct {
	mu      sync.Mutex
	near    timerHeap
	newest  []audience.Timer // after the horizon, and not in the database yet
	horizon time.Time        // timers after it are not in near; zero while nobody follows
	swept   time.Time        // those up to it were removed from the database
}

// begin follows timers from an instant on; those before it are history.
func (t *timers) begin(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.horizon = at
}

// add keeps timers.
func (t *timers) add(timers []audience.Timer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, timer := range timers {
		if timer.Due.After(t.horizon) {
			t.newest = append(t.newest, timer)
		} else {
			heap.Push(&t.near, timer)
		}
	}
}

// look writes what is new and reads more, when what is in memory does not reach far enough or is too much.
func (t *timers) look(ctx context.Context, log Log, now time.Time) error {
	t.mu.Lock()
	from, until := t.horizon, now.Add(timersAhead)
	if from.IsZero() || from.After(now.Add(timersLeft)) && len(t.newest) < timersHeld {
		t.mu.Unlock()
		return nil
	}
	newest := t.newest
	t.newest, t.horizon = nil, until
	t.mu.Unlock()
	err := log.AddTimers(ctx, newest)
	if err == nil {
		newest, err = nil, t.read(ctx, log, from, until)
	}
	if err != nil {
		t.mu.Lock()
		t.newest, t.horizon = append(t.newest, newest...), from
		t.mu.Unlock()
		return err
	}
	return t.sweep(ctx, log, from, now)
}

// sweep removes what is long past, but only what had been read before: a machine may have slept for days.
func (t *timers) sweep(ctx context.Context, log Log, read, now time.Time) error {
	past := now.Add(-timersKept)
	if read.Before(past) {
		past = read
	}
	t.mu.Lock()
	due := past.Sub(t.swept) > timersKept
	t.mu.Unlock()
	if !due {
		return nil
	}
	if err := log.DropTimers(ctx, past); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept = past
	return nil
}

// addStaged keeps the timers of an evaluation of everybody, made at an instant.
func (t *timers) addStaged(ctx context.Context, log Log, staged string, at time.Time) error {
	if err := log.AddStagedTimers(ctx, staged); err != nil {
		return err
	}
	t.mu.Lock()
	horizon := t.horizon
	t.mu.Unlock()
	if !horizon.After(at) {
		return nil
	}
	return t.read(ctx, log, at, horizon)
}

func (t *timers) read(ctx context.Context, log Log, after, until time.Time) error {
	for timer, err := range log.Timers(ctx, after, until) {
		if err != nil {
			return err
		}
		t.mu.Lock()
		heap.Push(&t.near, timer)
		t.mu.Unlock()
	}
	return nil
}

// take removes the timers that are due and names their users.
func (t *timers) take(now time.Time) (users []audience.UserID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.near) > 0 && !t.near[0].Due.After(now) {
		users = append(users, heap.Pop(&t.near).(audience.Timer).User)
	}
	return users
}

// until is how long it takes to the next timer, or to the next reading.
func (t *timers) until(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause := timersAhead - timersLeft
	if len(t.near) > 0 {
		pause = min(pause, t.near[0].Due.Sub(now))
	}
	return pause
}

// timerHeap has the timer due first in front.
type timerHeap []audience.Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].Due.Before(h[j].Due) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(audience.Timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
