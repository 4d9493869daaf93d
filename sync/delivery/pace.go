package delivery

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// urgency orders the requests that wait for one gate.
type urgency uint8

const (
	stopping urgency = iota
	removing
	adding
)

// How a gate follows the budget that answers report. Below the knee it lets requests through at its rate; from there to the
// top ever fewer; beyond that hardly any, so that a budget that comes back by the minute or the hour is never overdrawn.
const (
	knee, top = 0.95, 0.99
	trickle   = 1.0 / 400       // of the rate, above the top
	ample     = 0.5             // of a budget: below, the rate may grow
	growth    = 0.1             // a minute
	mostRate  = 4               // times the rate to start at
	refill    = 5 * time.Minute // to wait when the next request would not fit: the longest window of the platforms' short budgets
)

// The breaker of a gate. After so many requests without an answer in a row nothing more is sent but one probe at a time,
// after spans that double.
const (
	breakAfter    = 5
	firstBreak    = 5 * time.Second
	longestBreak  = 5 * time.Minute
	personalBreak = time.Minute // between probes while only a person can help
)

// gate lets requests through at a pace, the most urgent first, those of equal urgency in turn: an audience that has more to
// send than others waits as often as they do. An account has one, and so have all accounts that share an app.
type gate struct {
	mu      sync.Mutex
	waiting []*waiter     // by urgency, then in order of arrival
	changed chan struct{} // closed and replaced when a waiter should look again
	next    time.Time     // when the next request may leave
	because string        // why not before; "": nobody waits for it

	start, rate float64                            // requests a second; 0: as fast as they come
	shares      map[audience.DestinationID]float64 // rates asked for by those who share it
	grown       time.Time
	used, cost  float64 // share of the tightest budget, and the most one request took of it
	usual       float64 // requests a second lately, while above the knee

	silent  int                // requests without an answer in a row
	span    time.Duration      // of the break; 0 while closed
	probing bool               // one request is under way to see whether the break can end
	trouble *destination.Error // what only a person can mend; nil while all is well
	since   time.Time          // of the trouble
}

type waiter struct{ urgency }

func newGate() *gate {
	return &gate{changed: make(chan struct{}), shares: map[audience.DestinationID]float64{}}
}

// setRate takes over the rate of a destination that may have been edited.
func (g *gate) setRate(perSecond float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.start != perSecond {
		g.start, g.rate = perSecond, perSecond
	}
}

// turn waits until a request may leave, and takes that place; leave must follow. While only a person can help, and no probe
// is due, the error is what is wrong, at once.
func (g *gate) turn(ctx context.Context, u urgency) error {
	w := &waiter{u}
	g.mu.Lock()
	defer g.mu.Unlock()
	at, _ := slices.BinarySearchFunc(g.waiting, u+1, func(other *waiter, u urgency) int { return cmp.Compare(other.urgency, u) })
	g.waiting = slices.Insert(g.waiting, at, w)
	defer func() {
		g.waiting = slices.DeleteFunc(g.waiting, func(other *waiter) bool { return other == w })
		g.notify()
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		wait := time.Until(g.next)
		if g.trouble != nil && (wait > 0 || g.probing) {
			return g.trouble
		}
		if g.waiting[0] == w && wait <= 0 && !g.probing {
			g.next, g.because = time.Now().Add(g.interval()), "its budget is nearly used up"
			g.probing = g.span > 0
			return nil
		}
		if g.waiting[0] != w || g.probing {
			wait = longestBreak // someone else's move
		}
		g.await(ctx, wait)
	}
}

// await waits for a change, for some time at most, or for the end of ctx, without holding the gate.
func (g *gate) await(ctx context.Context, wait time.Duration) {
	changed := g.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (g *gate) notify() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// interval is the time from one request to the next.
func (g *gate) interval() time.Duration {
	if g.rate == 0 {
		return 0
	}
	share := min(1, max(trickle, (top-g.used)/(top-knee)))
	return time.Duration(float64(time.Second) / (g.rate * share))
}

// leave takes in how a request went that turn let through. failure is nil when it was answered as it should be, or was not
// sent after all.
func (g *gate) leave(pace destination.Pace, failure *destination.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.notify()
	g.probing = false
	if failure == nil && g.trouble != nil {
		g.next = time.Now() // what was held back was for the trouble alone
	}
	g.budget(pace)
	g.holdUntil(pace.Wait, usedUp)
	switch {
	case failure == nil || failure.Kind == destination.RateLimited:
		g.silent, g.span, g.trouble = 0, 0, nil
	case failure.Kind == destination.Transient:
		if g.silent++; g.silent >= breakAfter {
			g.span = min(max(2*g.span, firstBreak), longestBreak)
			g.holdUntil(g.span, "it does not answer")
		}
	case personal(failure):
		if g.trouble == nil {
			g.since = time.Now()
		}
		g.trouble, g.span = failure, personalBreak
		g.holdUntil(g.span, "") // and nobody waits for that: turn says what is wrong
	default: // the platform has answered; what it says concerns this request or its audience
		g.silent, g.span, g.trouble = 0, 0, nil
	}
	if failure != nil && failure.Kind == destination.RateLimited {
		g.holdUntil(failure.RetryAfter, failure.Kind.String())
		if pace.Used == 0 { // it says nothing of budgets: what was too fast once is too fast
			g.rate *= 0.9
		}
	}
}

// personal reports whether nothing of the account can be sent until a person has done something.
func personal(e *destination.Error) bool {
	return e.Scope >= destination.OfAccount && (e.Kind == destination.Unauthorized || e.Kind == destination.Misconfigured)
}

// budget follows the share of the tightest budget; 0: the answer said nothing of budgets.
func (g *gate) budget(pace destination.Pace) {
	now, most, used := time.Now(), g.start, pace.Used
	if used > 0 {
		most = mostRate * g.start
	}
	if used < ample && !g.grown.IsZero() {
		minutes := min(now.Sub(g.grown).Minutes(), 1)
		g.rate = max(g.rate, min(g.rate*(1+growth*minutes), most))
	}
	g.grown = now
	if used == 0 {
		return
	}
	if rise := used - g.used; g.used > 0 && rise > 0 && pace.Wait == 0 { // a refusal tells what is used, not what it took
		g.cost = max(rise, 0.9*g.cost)
	}
	g.used = used
	if used > knee {
		g.usual += 0.01 * (1/max(g.interval().Seconds(), 0.001) - g.usual)
	}
	if used+g.cost > 1 && pace.Wait == 0 { // otherwise the platform knows better
		g.holdUntil(cmp.Or(pace.Back, refill), usedUp)
	}
}

// usedUp is why nothing leaves while a budget is.
const usedUp = "its budget is used up"

// holdUntil lets nothing leave for so long, and keeps why.
func (g *gate) holdUntil(wait time.Duration, because string) {
	if until := time.Now().Add(wait); wait > 0 && until.After(g.next) {
		g.next, g.because = until, because
	}
}

// held is how long nothing may leave, and why.
func (g *gate) held() (time.Duration, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.next), g.because
}

// forecast is how long so many requests will take, as far as can be told now.
func (g *gate) forecast(requests int64) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	rate := g.rate
	if g.used > knee && g.usual > 0 {
		rate = min(rate, g.usual)
	}
	if requests == 0 || rate == 0 {
		return 0
	}
	return max(0, time.Until(g.next)) + time.Duration(float64(requests)/rate*float64(time.Second))
}
