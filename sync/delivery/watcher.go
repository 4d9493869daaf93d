package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
	"github.com/kohorta/kohorta/sync/destination"
)

// How often destinations are looked at. A look costs a stat of each secret's file; a check asks the platform.
const (
	lookEvery    = 2 * time.Second
	checkEvery   = 15 * time.Minute
	recheckEvery = time.Minute      // of one whose work waits, or that has not answered
	checkTimeout = 30 * time.Second // of a check
)

// Destinations are kept elsewhere, and so is how they are.
type Destinations interface {
	Destinations(ctx context.Context) ([]audience.Destination, error)
	// Healths are those put last.
	Healths(ctx context.Context) (map[audience.DestinationID]audience.Health, error)
	PutHealth(ctx context.Context, id audience.DestinationID, health audience.Health) error
}

// Watcher knows how destinations are. It asks their platforms when one is new or has changed, when a secret is replaced, and from
// time to time; what their work meets in between it hears from the gates. It is safe for concurrent use.
type Watcher struct {
	deliverer *Deliverer
	kept      Destinations
	recovered func(ctx context.Context, id audience.DestinationID, since time.Time)

	mu    sync.Mutex
	known map[audience.DestinationID]*watched
	wake  chan struct{}
}

// watched is what is known of a destination.
type watched struct {
	checking sync.Mutex // held by a check

	// Guarded by the watcher's mu.
	health   audience.Health
	stored   audience.Health
	troubled bool   // the gates held back its work when they were last asked
	etag     string // that was checked
	secrets  uint64 // that were checked
	tried    time.Time
}

// NewWatcher makes a Watcher for the destinations of a Deliverer. Recovered hears of a destination whose work was kept waiting, since
// when, and can go on.
func NewWatcher(d *Deliverer, kept Destinations, recovered func(ctx context.Context, id audience.DestinationID, since time.Time)) *Watcher {
	return &Watcher{deliverer: d, kept: kept, recovered: recovered, known: map[audience.DestinationID]*watched{}, wake: make(chan struct{}, 1)}
}

// Run watches until ctx ends and the checks under way have.
func (w *Watcher) Run(ctx context.Context) error {
	var checks sync.WaitGroup
	defer checks.Wait()
	for restored := false; ; {
		if !restored {
			restored = w.restore(ctx)
		}
		if restored {
			w.look(ctx, &checks)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case <-time.After(lookEvery):
		}
	}
}

// restore learns how destinations were when the process before ended.
func (w *Watcher) restore(ctx context.Context) bool {
	healths, err := w.kept.Healths(ctx)
	if err != nil {
		w.deliverer.Log.Warn("states of destinations not read; trying again", "error", err)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, health := range healths {
		if _, checked := w.known[id]; !checked {
			w.known[id] = &watched{health: health, stored: health}
		}
	}
	return true
}

// Look has the destinations looked at soon: one may have changed.
func (w *Watcher) Look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// look begins the checks that are due, and keeps what has changed.
func (w *Watcher) look(ctx context.Context, checks *sync.WaitGroup) {
	all, err := w.kept.Destinations(ctx)
	if err != nil {
		w.deliverer.Log.Warn("destinations not listed; trying again", "error", err)
		return
	}
	for _, d := range all {
		of := w.of(d.ID)
		secrets := w.secretsOf(d)
		w.mu.Lock()
		due := of.etag != d.Etag || of.secrets != secrets || time.Since(of.tried) > pauseOf(of.health.State)
		w.mu.Unlock()
		if due && of.checking.TryLock() {
			checks.Go(func() {
				defer of.checking.Unlock()
				w.check(ctx, d, of)
			})
			continue
		}
		w.take(ctx, d, of)
	}
}

func pauseOf(state audience.HealthState) time.Duration {
	if state == audience.HealthOK {
		return checkEvery
	}
	return recheckEvery
}

func (w *Watcher) of(id audience.DestinationID) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known[id] == nil {
		w.known[id] = &watched{}
	}
	return w.known[id]
}

// Check asks the platform of a destination now.
func (w *Watcher) Check(ctx context.Context, d audience.Destination) audience.Health {
	of := w.of(d.ID)
	of.checking.Lock()
	defer of.checking.Unlock()
	return w.check(ctx, d, of)
}

// Health is what is known of a destination. It asks nobody.
func (w *Watcher) Health(d audience.Destination) audience.Health {
	of := w.of(d.ID)
	w.mu.Lock()
	defer w.mu.Unlock()
	of.health = w.now(d, of)
	return of.health
}

// check asks the platform and keeps what it says. checking is held.
func (w *Watcher) check(ctx context.Context, d audience.Destination, of *watched) audience.Health {
	w.take(ctx, d, of) // trouble that the check is about to end must have been seen: somebody waits for that
	secrets := w.secretsOf(d)
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	failure := w.deliverer.ask(asking, d)
	w.mu.Lock()
	of.etag, of.secrets, of.tried = d.Etag, secrets, time.Now()
	if failure == nil {
		of.health.State, of.health.Checked = audience.HealthOK, of.tried.UTC()
	} else if personal(failure) {
		of.health.Checked = of.tried.UTC()
	}
	w.mu.Unlock()
	return w.take(ctx, d, of)
}

// ask has the connector of a destination check itself, and tells the gates how that went: while they hold back the account's
// work, the check is the probe.
func (d *Deliverer) ask(ctx context.Context, of audience.Destination) *destination.Error {
	made, err := d.connect(of)
	var failure *destination.Error
	if err == nil {
		err = d.patientCheck(ctx, made, of)
	}
	switch {
	case err == nil:
		d.account(of, made.Limits()).leave(destination.Pace{}, nil)
		return nil
	case !errors.As(err, &failure):
		return &destination.Error{Kind: destination.Transient, Err: err}
	case personal(failure):
		d.account(of, made.Limits()).leave(destination.Pace{}, failure)
	}
	return failure
}

// patientCheck gives a refused token the time to be replaced that other requests give it. While nothing of the account leaves,
// one request is enough.
func (d *Deliverer) patientCheck(ctx context.Context, made destination.Destination, of audience.Destination) error {
	for attempt := 1; ; attempt++ {
		err := made.Check(ctx)
		var failure *destination.Error
		if !errors.As(err, &failure) || failure.Kind != destination.Unauthorized || attempt > renewals {
			return err
		}
		if trouble, _ := d.Trouble(of); trouble != nil {
			return err
		}
		if err := pause.For(ctx, renewAfter); err != nil {
			return err
		}
	}
}

func (w *Watcher) secretsOf(d audience.Destination) uint64 {
	made, err := w.deliverer.connect(d)
	if renewable, is := made.(destination.Renewable); err == nil && is {
		return renewable.Secrets()
	}
	return 0
}

// now is the health of a destination with what the gates know by now. mu is held.
func (w *Watcher) now(d audience.Destination, of *watched) audience.Health {
	health := of.health
	trouble, since := w.deliverer.Trouble(d)
	switch {
	case trouble != nil:
		shown := *trouble
		shown.Remedy = "" // beside it
		health.State, health.Trouble, health.Remedy, health.Since = audience.HealthWaiting, shown.Error(), trouble.Remedy, since.UTC()
	case of.troubled: // the platform has taken a request since
		health.State = audience.HealthOK
	}
	if health.State == audience.HealthOK {
		health.Trouble, health.Remedy, health.Since = "", "", time.Time{}
	}
	of.troubled = trouble != nil
	if made, err := w.deliverer.connect(d); err == nil {
		if foreseeing, is := made.(destination.Foreseeing); is {
			health.Warnings = foreseeing.Warnings()
		}
	}
	return health
}

// take keeps a destination's health if it has changed, and tells when its work can go on.
func (w *Watcher) take(ctx context.Context, d audience.Destination, of *watched) audience.Health {
	w.mu.Lock()
	health := w.now(d, of)
	stored := of.stored
	of.health, of.stored = health, health
	w.mu.Unlock()
	if same(health, stored) {
		return health
	}
	switch {
	case health.State == audience.HealthWaiting && stored.State != audience.HealthWaiting:
		w.deliverer.Log.Warn("work of a destination waits", "destination", d.ID, "trouble", health.Trouble, "remedy", health.Remedy)
	case health.State == audience.HealthOK && stored.State == audience.HealthWaiting:
		w.deliverer.Log.Info("work of a destination goes on", "destination", d.ID, "waited", time.Since(stored.Since))
		w.deliverer.wake() // stops go first
		w.recovered(ctx, d.ID, stored.Since)
	}
	if err := w.kept.PutHealth(ctx, d.ID, health); err != nil && ctx.Err() == nil {
		w.deliverer.Log.Warn("state of a destination not kept; trying again", "destination", d.ID, "error", err)
		w.mu.Lock()
		of.stored = stored
		w.mu.Unlock()
	}
	return health
}

// same reports whether there is nothing to keep: when it was checked is not worth a write.
func same(a, b audience.Health) bool {
	return a.State == b.State && a.Trouble == b.Trouble && a.Remedy == b.Remedy && slices.Equal(a.Warnings, b.Warnings)
}
