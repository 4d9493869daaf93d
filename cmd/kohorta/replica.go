package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/lease"
	"github.com/kohorta/kohorta/internal/pause"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/internal/warehouse"
)

// writerLease is the name of the part that one process has for the whole database.
const writerLease = "writer"

// lookAgain is how often a process that stands by tries to become the writer.
const lookAgain = time.Second

// replica is this process among those that share a database: one is the writer, the others stand by, and all of them sync
// the audiences they hold. A nil replica is alone, and the writer.
type replica struct {
	store  *warehouse.Store
	leases *lease.Leases
	term   time.Duration
	log    *slog.Logger

	mu       sync.Mutex
	presence *lease.Lease // by which others know that this process is alive
	writer   *lease.Lease // nil while standing by
}

// processName is a name no other process ever has.
func processName(address string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s(%s)-%s", host, address, strings.ToLower(rand.Text()[:8]))
}

func newReplica(store *warehouse.Store, name string, term time.Duration, log *slog.Logger) *replica {
	return &replica{store: store, leases: lease.New(store, name, term, log), term: term, log: log}
}

func presenceLease(holder string) string { return "replica/" + holder }

// join makes this process the writer or, while another is, one that follows it.
func (r *replica) join(ctx context.Context) error {
	var err error
	if r.presence, err = r.leases.Take(ctx, presenceLease(r.leases.Holder())); err != nil {
		return err
	}
	for told := false; ; {
		taken := r.take(ctx)
		if !errors.Is(taken, audience.ErrConflict) {
			return taken
		}
		err := r.store.Follow(ctx)
		if err == nil {
			r.log.Info("standing by: reading, and syncing what this replica holds", "because", taken)
			return nil
		}
		if !errors.Is(err, audience.ErrUnavailable) {
			return err
		}
		if !told {
			told = true
			r.log.Info("waiting", "for", err)
		}
		if err := pause.For(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// take makes this process the writer. ErrConflict while another is.
func (r *replica) take(ctx context.Context) error {
	taken, err := r.leases.Take(ctx, writerLease)
	if err != nil {
		return err
	}
	if err := r.store.Write(ctx, taken.Check); err != nil {
		taken.Release()
		return err
	}
	r.set(taken)
	r.log.Info("this replica is the writer")
	return nil
}

func (r *replica) set(taken *lease.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writer = taken
}

func (r *replica) get() *lease.Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writer
}

// lead returns once this process is the writer, or false when ctx ended before.
func (r *replica) lead(ctx context.Context) bool {
	for r.get() == nil {
		if err := r.take(ctx); err != nil && !errors.Is(err, audience.ErrConflict) && ctx.Err() == nil {
			r.log.Warn("not the writer yet; trying again", "error", err)
		}
		if r.get() == nil && pause.For(ctx, lookAgain) != nil {
			return false
		}
	}
	return true
}

var errReplaced = errors.New("another replica has become the writer while this one could not be heard of; start this one again, and it stands by")

// keepWriting returns when ctx ends, or with an error when another process has become the writer. A lease that has ended
// while nobody wanted the part is taken again: nothing was written in between.
func (r *replica) keepWriting(ctx context.Context) error {
	if r == nil {
		return nil
	}
	for {
		writer := r.get()
		select {
		case <-ctx.Done():
			return nil
		case <-writer.Lost():
		}
		again, err := r.leases.Take(ctx, writerLease)
		switch {
		case err == nil && again.Succeeds() == writer.Fence():
			r.store.HeldAnew(again.Check)
			r.set(again)
			r.log.Info("this replica is the writer again")
			continue
		case err == nil:
			again.Release()
			return errReplaced
		case errors.Is(err, audience.ErrConflict):
			return errReplaced
		}
		_ = pause.For(ctx, lookAgain) // ClickHouse is away; the end of ctx is seen above
	}
}

// attend shows the others that this process is alive, and marks the runs of those that are not as interrupted.
func (r *replica) attend(ctx context.Context, runner *run.Runner) error {
	for pause.For(ctx, r.term/2) == nil {
		if r.presence.Check() != nil {
			if presence, err := r.leases.Take(ctx, presenceLease(r.leases.Holder())); err == nil {
				r.presence = presence
			}
		}
		if err := runner.Recover(ctx, r.alive); err != nil && ctx.Err() == nil {
			r.log.Warn("runs of other replicas not looked at", "error", err)
		}
	}
	return nil
}

// alive reports whether a process that shares the database is.
func (r *replica) alive(ctx context.Context, holder string) (bool, error) {
	if r == nil || holder == "" {
		return false, nil
	}
	return r.leases.Alive(ctx, presenceLease(holder))
}

// leave lets others take over at once.
func (r *replica) leave() {
	for _, held := range []*lease.Lease{r.get(), r.presence} {
		if held != nil {
			held.Release()
		}
	}
}
