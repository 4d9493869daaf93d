// Package pause waits: for a while, or between attempts, never longer than a context lasts.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, and gives nil, or until ctx ends, and gives its cause.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Doubling is how long to wait between attempts: from First on twice as long each time, up to Most.
type Doubling struct{ First, Most time.Duration }

// After is the wait after a number of failed attempts, at least 1: somewhere in the second half of what it doubles to, so that
// many who wait do not come back all at once.
func (d Doubling) After(failures int) time.Duration {
	wait := d.Most
	if doublings := failures - 1; doublings < 30 {
		wait = min(d.First<<doublings, d.Most)
	}
	return wait/2 + rand.N(wait/2+1)
}

// UntilDone does something until it succeeds, and gives nil, or until ctx ends, and gives its cause. failed hears of each
// failure, and how long it is waited for the next attempt.
func (d Doubling) UntilDone(ctx context.Context, do func() error, failed func(err error, wait time.Duration)) error {
	for failures := 1; ; failures++ {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := d.After(failures)
		failed(err, wait)
		if err := For(ctx, wait); err != nil {
			return err
		}
	}
}
