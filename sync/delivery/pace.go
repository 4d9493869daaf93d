package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// account paces the requests of one destination, whatever audience they are for.
type account struct {
	mu       sync.Mutex
	interval time.Duration // between requests; 0: none is asked for
	next     time.Time     // when the next request may leave
}

// account is the one of a destination, at a perhaps new rate.
func (d *Deliverer) account(id audience.DestinationID, requestsPerSecond float64) *account {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[id]
	if a == nil {
		a = &account{}
		d.accounts[id] = a
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.interval = 0
	if requestsPerSecond > 0 {
		a.interval = time.Duration(float64(time.Second) / requestsPerSecond)
	}
	return a
}

// turn waits until a request may leave, and takes that place.
func (a *account) turn(ctx context.Context) error {
	for {
		a.mu.Lock()
		wait := time.Until(a.next)
		if wait <= 0 {
			a.next = time.Now().Add(a.interval)
			a.mu.Unlock()
			return ctx.Err()
		}
		a.mu.Unlock()
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// heed slows down as an answer asks. From four fifths of a budget on the interval grows, to the tenfold when it is used
// up, so that a budget that fills again by the hour is not run into.
func (a *account) heed(p destination.Pace) {
	const ample = 0.8
	if p.Used > ample {
		a.mu.Lock()
		a.next = a.next.Add(time.Duration(float64(a.interval) * 9 * (min(p.Used, 1) - ample) / (1 - ample)))
		a.mu.Unlock()
	}
	a.hold(p.Wait)
}

// hold lets nothing leave for so long.
func (a *account) hold(wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := time.Now().Add(wait); wait > 0 && until.After(a.next) {
		a.next = until
	}
}

// held is how long nothing may leave.
func (a *account) held() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Until(a.next)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
