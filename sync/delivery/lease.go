package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Leases give each audience to one process at a time.
type Leases interface {
	// Take gives the audience to this process until it is released or lost. ErrConflict while another process has it.
	Take(ctx context.Context, a audience.Audience) (Lease, error)
}

// Lease is the right to change what a platform holds of an audience, and its ledger. It is safe for concurrent use.
type Lease interface {
	// Check is nil while the lease is certain, and for good an ErrFenced from when it is not. It asks nobody.
	Check() error
	// Version outranks every row of the ledger written under this lease so far and under every earlier one. It never outranks
	// a row written under a later one.
	Version() uint64
	// Abandoned reports whether the holder before has not given the audience back: it is dead, or paused.
	Abandoned() bool
	// Release gives the audience back.
	Release()
	// Abandon ends the lease without giving it back: the next holder, which may be this process, learns that it was not.
	Abandon()
}

// mostLate is how long after its process has died a request may still be carried out: as long as connectors wait for answers.
const mostLate = 2 * time.Minute

// tenure is the lease of an audience while this process has work for it: a sync and the stops that come meanwhile share it.
type tenure struct {
	mu      sync.Mutex
	sharers int
	lease   Lease
}

func (t *tenure) held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sharers > 0
}

// Reserve takes an audience for a sync to come, which shares the lease, so that a conflict with another process is known
// before. Release must follow.
func (d *Deliverer) Reserve(ctx context.Context, a audience.Audience) (release func(), err error) {
	return d.hold(ctx, &target{audience: a, line: d.lineOf(a.ID)})
}

// hold takes the audience of a target, unless this process has it already, and settles what earlier holders left in doubt.
func (d *Deliverer) hold(ctx context.Context, t *target) (release func(), err error) {
	held := &t.line.tenure
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.sharers == 0 {
		lease, err := d.Leases.Take(ctx, t.audience)
		if err != nil {
			return nil, fmt.Errorf("take audience %s: %w", t.audience.ID, err)
		}
		if err := d.takeOver(ctx, t.audience.Number, lease); err != nil {
			lease.Abandon()
			return nil, fmt.Errorf("settle what an earlier holder of audience %s left in doubt: %w", t.audience.ID, err)
		}
		held.lease = lease
	}
	held.sharers++
	t.lease = held.lease
	return func() {
		held.mu.Lock()
		defer held.mu.Unlock()
		if held.sharers--; held.sharers == 0 {
			held.lease.Release()
		}
	}, nil
}

// takeOver settles what earlier holders left in doubt. A holder that did not come to give the audience back may have left a
// request under way, whose intent is not confirmed: this one sends again or removes whom it concerns, and once more when the
// request cannot come in after that.
func (d *Deliverer) takeOver(ctx context.Context, ledger audience.Number, lease Lease) error {
	if lease.Abandoned() {
		if err := d.Ledger.DoubtIntents(ctx, ledger, lease.Version(), mostLate); err != nil {
			return err
		}
	}
	return d.Ledger.SettleDoubts(ctx, ledger, lease.Version())
}

// write puts rows into the ledger of a target that is held.
func (d *Deliverer) write(ctx context.Context, t target, rows []audience.Delivery) error {
	if len(rows) == 0 {
		return nil
	}
	if err := t.lease.Check(); err != nil {
		return err
	}
	version := t.lease.Version()
	for i := range rows {
		rows[i].Version = version
	}
	return d.Ledger.RecordDeliveries(ctx, t.audience.Number, rows)
}

// place keeps which audience of the platform a target has that is held, "" for none, and whether that is made of files.
func (d *Deliverer) place(ctx context.Context, t target, platformID string, files bool) error {
	if err := t.lease.Check(); err != nil {
		return err
	}
	return d.Catalogue.SetPlatformID(ctx, t.audience.ID, platformID, files, t.lease.Version())
}

// stillHeld is nil when the lease was certain all through a request that has just come to an end, however it did. If not,
// another process may have sent something else meanwhile, and the request may have come in after it: rows says whom it
// concerned, and with which identifiers. That is written down beside the ledger, which is the other's now, for the next
// holder to make good.
func (d *Deliverer) stillHeld(ctx context.Context, t target, rows func() []audience.Delivery) error {
	lost := t.lease.Check()
	if lost == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := d.Ledger.RecordDoubts(ctx, t.audience.Number, rows()); err != nil {
		return fmt.Errorf("%w; whom the last request concerned is not written down: %w", lost, err)
	}
	return lost
}

// alone gives every audience to the only process there is.
type alone struct {
	mu    sync.Mutex
	known map[audience.AudienceID]bool // those given back
}

// Take never fails. Each audience may have been abandoned by a process before this one.
func (a *alone) Take(_ context.Context, of audience.Audience) (Lease, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return sole{alone: a, id: of.ID, abandoned: !a.known[of.ID]}, nil
}

// sole is the lease of a process that is the only one.
type sole struct {
	*alone
	id        audience.AudienceID
	abandoned bool
}

func (sole) Check() error      { return nil }
func (sole) Version() uint64   { return 0 }
func (s sole) Abandoned() bool { return s.abandoned }
func (sole) Abandon()          {}

func (s sole) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[s.id] = true
}
