package lease

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Store keeps leases for all processes.
type Store interface {
	// Lease says who has a name.
	Lease(ctx context.Context, name string) (audience.LeaseState, error)
	// ClaimLease makes holder the successor of whoever has the name with the fence before (0: of nobody), unless somebody else
	// is that already, and answers with who has the name then.
	ClaimLease(ctx context.Context, name string, before uint64, holder string) (audience.LeaseState, error)
	// BeatLease is a sign of life of a holder, the last one when it releases the name.
	BeatLease(ctx context.Context, name string, fence uint64, released bool) error
}

// Leases takes leases for one process.
type Leases struct {
	store  Store
	holder string
	term   time.Duration
	log    *slog.Logger
}

// New makes Leases for a process of that name, which no other ever has. Term is how long a holder that gives no sign of
// life is certain of its lease.
func New(store Store, holder string, term time.Duration, log *slog.Logger) *Leases {
	return &Leases{store: store, holder: holder, term: term, log: log}
}

// Holder is this process.
func (l *Leases) Holder() string { return l.holder }

// Alive reports whether a holder of a name may still be certain of it.
func (l *Leases) Alive(ctx context.Context, name string) (bool, error) {
	state, err := l.store.Lease(ctx, name)
	return l.taken(state), err
}

func (l *Leases) taken(state audience.LeaseState) bool {
	return state.Holder != "" && !state.Released && state.Idle < l.term+l.term/2
}

// Take takes a name that nobody has. An ErrConflict names who has it. A name of which this process was certain before is
// taken again at once: the caller has ended what it did under the lease that ended.
func (l *Leases) Take(ctx context.Context, name string) (*Lease, error) {
	state, err := l.store.Lease(ctx, name)
	if err != nil {
		return nil, err
	}
	if l.taken(state) && state.Holder != l.holder {
		return nil, conflict(name, state)
	}
	sent, before, abandoned := time.Now(), state.Fence, state.Fence > 0 && !state.Released
	if state, err = l.store.ClaimLease(ctx, name, before, l.holder); err != nil {
		return nil, err
	}
	if state.Holder != l.holder || state.Fence == before {
		return nil, conflict(name, state)
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	lease := &Lease{leases: l, name: name, before: before, fence: state.Fence, abandoned: abandoned,
		until: sent.Add(l.term), lost: make(chan struct{}), stop: stop}
	lease.kept.Go(func() { lease.keep(keeping) })
	return lease, nil
}

func conflict(name string, state audience.LeaseState) error {
	return fmt.Errorf("%s is with another replica, %s: %w", name, state.Holder, audience.ErrConflict)
}

// Lease is a name that this process has. It is safe for concurrent use.
type Lease struct {
	leases        *Leases
	name          string
	before, fence uint64
	abandoned     bool
	lost          chan struct{} // closed when the lease has ended
	stop          context.CancelFunc
	kept          sync.WaitGroup

	mu     sync.Mutex
	writes uint64
	until  time.Time // certain before
	ended  error
}

// Fence is higher than that of every earlier lease of the name.
func (l *Lease) Fence() uint64 { return l.fence }

// Succeeds is the fence of the lease before; 0 when there was none.
func (l *Lease) Succeeds() uint64 { return l.before }

// Abandoned reports whether the holder before has not given the name back: it is dead, paused, or out of reach of the store.
func (l *Lease) Abandoned() bool { return l.abandoned }

// Version is higher than every version under this lease so far and under every earlier one, and lower than all under a
// later one.
func (l *Lease) Version() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	return l.fence + l.writes
}

// Lost is closed when the lease has ended by itself, soon after it has.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Check is nil while the lease is certain, and for good an ErrFenced from when it is not. It asks nobody.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	// By both clocks: the monotonic one stands still while a machine is suspended, the other can be set.
	if l.ended == nil && (!now.Before(l.until) || !now.Round(0).Before(l.until.Round(0))) {
		l.ended = fmt.Errorf("the lease of %s has ended, no sign of life was given in time: %w", l.name, audience.ErrFenced)
		close(l.lost)
	}
	return l.ended
}

// Release gives the name back and returns once others can take it, or when they will have to wait because the store is
// away.
func (l *Lease) Release() {
	if !l.end() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.leases.term)
	defer cancel()
	if err := l.leases.store.BeatLease(ctx, l.name, l.fence, true); err != nil {
		l.leases.log.Warn("lease not given back; others have to wait until it has ended", "name", l.name, "error", err)
	}
}

// Abandon ends the lease without giving the name back: the next holder learns that it was not. This process may take the name
// again at once, others as if it had died.
func (l *Lease) Abandon() { l.end() }

// end ends the lease, and says whether it had not ended already.
func (l *Lease) end() bool {
	l.stop()
	l.kept.Wait()
	if l.Check() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = fmt.Errorf("the lease of %s was given back: %w", l.name, audience.ErrFenced)
	return true
}

// keep gives signs of life until ctx ends or the lease has.
func (l *Lease) keep(ctx context.Context) {
	tick := time.NewTicker(l.leases.term / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.Check(); err != nil {
			l.leases.log.Warn("lease has ended", "name", l.name)
			return
		}
		if err := l.beat(ctx); err != nil && ctx.Err() == nil {
			l.leases.log.Warn("sign of life not given", "name", l.name, "error", err)
		}
	}
}

func (l *Lease) beat(ctx context.Context) error {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.leases.term)
	defer cancel()
	if err := l.leases.store.BeatLease(ctx, l.name, l.fence, false); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.until) { // else it has ended already
		l.until = sent.Add(l.leases.term)
	}
	return nil
}
