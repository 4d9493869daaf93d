package delivery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/kohorta/kohorta/internal/pause"
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
	// A refused token is read again from its file so often, so long after: it may just be being replaced.
	renewals   = 2
	renewAfter = time.Second
)

// mostSettling is how long a request under way is waited for when its sync is to end.
const mostSettling = 10 * time.Second

// untilSettled is a context for one request: that of its sync, but for the end, which it outlasts by a while. So a sync that is
// cancelled ends between two requests, and knows what became of the last one.
func untilSettled(ctx context.Context) (sending context.Context, settled func()) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(mostSettling, cancel) })
	return sending, func() {
		stop()
		cancel()
	}
}

// errNothing is a request's that had nothing left to send.
var errNothing = errors.New("nothing to send")

// try runs one request until it succeeds, fails for good, or has been tried often enough. Before each attempt overtake, if
// any, sends what has become more urgent meanwhile. tell hears of long waits.
func (t target) try(ctx context.Context, log *slog.Logger, tell teller, u urgency, overtake func(context.Context) error,
	request func() (destination.Pace, error),
) error {
	var waited time.Duration
	for attempt := 1; ; attempt++ {
		wait, because := t.account.held()
		if wait > patience {
			return &destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: wait,
				Err: errors.New("the platform wants a longer pause than a sync waits for")}
		}
		over := tell(wait, because)
		err := t.pass(ctx, u, overtake)
		over()
		if err != nil {
			return err
		}
		if t.lease != nil {
			if err := t.lease.Check(); err != nil {
				t.account.leave(destination.Pace{}, nil)
				return err
			}
		}
		pace, err := request()
		var failure *destination.Error
		if errors.Is(err, errNothing) {
			t.account.leave(destination.Pace{}, nil)
			return nil
		}
		if errors.As(err, &failure) && failure.Kind == destination.Unauthorized && attempt <= renewals {
			t.account.leave(pace, nil)
			if err := pause.For(ctx, renewAfter); err != nil {
				return err
			}
			continue
		}
		if failure == nil || !passing(failure.Kind) {
			t.account.leave(pace, err)
			return err
		}
		wait = max(failure.RetryAfter, rand.N(min(widestSpan, firstSpan<<(attempt-1))))
		ofAccount := *failure
		if ofAccount.Scope >= destination.OfAccount {
			ofAccount.RetryAfter = wait
		}
		t.account.leave(pace, &ofAccount)
		if waited += wait; attempt == attempts || waited > patience {
			return err
		}
		log.Info("request will be repeated", "destination", t.scope.Destination, "kind", failure.Kind.String(), "code", failure.Code, "attempt", attempt, "wait", wait)
		if failure.Scope >= destination.OfAccount && failure.Kind == destination.RateLimited {
			continue // the gate waits
		}
		over = tell(wait, failure.Kind.String())
		err = pause.For(ctx, wait)
		over()
		if err != nil {
			return err
		}
	}
}

// pass waits for the account's turn. What is to overtake goes first, also when it came while waiting.
func (t target) pass(ctx context.Context, u urgency, overtake func(context.Context) error) error {
	for {
		if overtake != nil {
			if err := overtake(ctx); err != nil {
				return err
			}
		}
		if err := t.account.turn(ctx, u); err != nil {
			return err
		}
		if u == stopping || overtake == nil || !t.line.waits() {
			return nil
		}
		t.account.leave(destination.Pace{}, nil)
	}
}

func passing(k destination.Kind) bool {
	return k == destination.Transient || k == destination.RateLimited || k == destination.Busy
}
