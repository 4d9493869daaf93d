package tiktok

import (
	"errors"
	"sync"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// steps are the waits after each refusal in a row for being over the app's quota (1.4): first the second's, then the
// minute's. After the last the day's quota must be used up, which comes back at midnight UTC.
var steps = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute}

// ladder finds the wait that the platform does not state: it does not say which of its quotas was hit.
type ladder struct {
	mu    sync.Mutex
	step  int
	until time.Time // refusals before it are answers to requests that were under way, and climb no step
}

// note puts the wait into an error for being over the app's quota, and leaves others as they are.
func (l *ladder) note(err error, now time.Time) error {
	var e *destination.Error
	if !errors.As(err, &e) || e.Kind != destination.RateLimited || e.Scope != destination.OfApp {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.until) {
		if l.step < len(steps) {
			l.until = now.Add(steps[l.step])
		} else {
			l.until = now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		}
		l.step++
	}
	e.RetryAfter = l.until.Sub(now)
	return err
}

// clear starts anew after a request that was taken.
func (l *ladder) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step, l.until = 0, time.Time{}
}
