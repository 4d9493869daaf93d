package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// account is what paces the requests of one advertising account, whatever audience they are for: a gate of its own, and
// one it shares with all accounts of the same app.
type account struct{ own, app *gate }

// account is the one of a destination, at perhaps new rates.
func (d *Deliverer) account(of audience.Destination, limits destination.Limits) account {
	a := d.gatesOf(of)
	a.own.setRate(limits.RequestsPerSecond)
	a.app.setShare(of.ID, limits.AppRequestsPerSecond)
	return a
}

// gatesOf finds the gates of a destination: of its account, and of its app, which is known by its id, or else by its token.
func (d *Deliverer) gatesOf(of audience.Destination) account {
	d.mu.Lock()
	defer d.mu.Unlock()
	gateOf := func(key string) *gate {
		if d.gates[key] == nil {
			d.gates[key] = newGate()
		}
		return d.gates[key]
	}
	app := fmt.Sprintf("token %s %s", of.Platform, of.TokenSecret)
	if of.App != "" {
		app = fmt.Sprintf("app %s %s", of.Platform, of.App)
	}
	return account{gateOf(fmt.Sprintf("account %s %s", of.Platform, of.Account)), gateOf(app)}
}

// setShare takes over what one of the destinations that share a gate says of the rate of all: the lowest counts.
func (g *gate) setShare(id audience.DestinationID, perSecond float64) {
	g.mu.Lock()
	g.shares[id] = perSecond
	lowest := perSecond
	for _, other := range g.shares {
		if other > 0 && (lowest == 0 || other < lowest) {
			lowest = other
		}
	}
	g.mu.Unlock()
	g.setRate(lowest)
}

// turn waits for both gates.
func (a account) turn(ctx context.Context, u urgency) error {
	if err := a.own.turn(ctx, u); err != nil {
		return err
	}
	err := a.app.turn(ctx, u)
	if err != nil {
		a.own.leave(destination.Pace{}, nil)
	}
	return err
}

// leave takes in how a request went. An error of the app is every account's; the others are this one's alone.
func (a account) leave(pace destination.Pace, err error) {
	var failure *destination.Error
	if errors.As(err, &failure) && failure.Scope == destination.OfApp {
		a.app.leave(destination.Pace{}, failure)
		failure = nil
	} else {
		a.app.leave(destination.Pace{}, nil)
	}
	a.own.leave(pace, failure)
}

// held is how long nothing may leave, and why.
func (a account) held() (time.Duration, string) {
	wait, because := a.own.held()
	if other, otherwise := a.app.held(); other > wait {
		return other, otherwise
	}
	return wait, because
}

// forecast is how long so many requests will take, as far as can be told now.
func (a account) forecast(requests int64) time.Duration {
	return max(a.own.forecast(requests), a.app.forecast(requests))
}

// Trouble is what keeps a destination's work waiting until a person acts, and since when: an expired token, a missing right.
// nil when nothing is known to.
func (d *Deliverer) Trouble(of audience.Destination) (*destination.Error, time.Time) {
	a := d.gatesOf(of)
	for _, g := range []*gate{a.own, a.app} {
		g.mu.Lock()
		trouble, since := g.trouble, g.since
		g.mu.Unlock()
		if trouble != nil {
			return trouble, since
		}
	}
	return nil, time.Time{}
}
