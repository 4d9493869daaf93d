package delivery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// A request that fails for a passing reason is sent again, after a random part of a span that doubles (full jitter, Brooker,
// "Exponential Backoff And Jitter", AWS 2015), or after what the platform asks, whichever is longer.
const (
	attempts   = 6
	firstSpan  = time.Second
	widestSpan = time.Minute
	// patience bounds the waiting for one request. A platform that asks for more ends the sync; what is left is the next one's.
	patience = 15 * time.Minute
)

// try runs one request until it succeeds, fails for good, or has been tried often enough.
func (t target) try(ctx context.Context, log *slog.Logger, request func() (destination.Pace, error)) error {
	var waited time.Duration
	for attempt := 1; ; attempt++ {
		if wait := t.account.held(); wait > patience {
			return &destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: wait,
				Err: errors.New("the platform wants a longer pause than a sync waits for")}
		}
		if err := t.account.turn(ctx); err != nil {
			return err
		}
		pace, err := request()
		t.account.heed(pace)
		var failure *destination.Error
		if err == nil || !errors.As(err, &failure) || !passing(failure.Kind) {
			return err
		}
		wait := max(failure.RetryAfter, rand.N(min(widestSpan, firstSpan<<(attempt-1))))
		if waited += wait; attempt == attempts || waited > patience {
			return err
		}
		log.Info("request will be repeated", "kind", failure.Kind.String(), "code", failure.Code, "attempt", attempt, "wait", wait)
		if failure.Scope >= destination.OfAccount {
			t.account.hold(wait)
			continue
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func passing(k destination.Kind) bool {
	return k == destination.Transient || k == destination.RateLimited || k == destination.Busy
}
