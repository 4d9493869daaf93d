package warehouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// One process writes a database: it alone knows which events there are, and what the log of membership says last. Others
// may read it, and write what they hold a lease of, or what is their own.
var sharedTables = map[string]bool{
	"leases": true, "lease_beats": true, "deliveries": true, "doubts": true, "platform_audiences": true, "held_plans": true,
	"sync_records": true, "runs": true, "run_cancels": true, "answers": true, "audit": true, "destination_healths": true,
	"schema_migrations": true, // of Write, before it has begun
}

// MayWrite is nil while this process is the writer, and an *audience.UnavailableError otherwise. It asks nobody.
func (s *Store) MayWrite() error {
	held := s.held.Load()
	if held == nil {
		return &audience.UnavailableError{What: "this replica stands by for the one that writes: send writes there, or repeat them until this one has taken over; writing here", RetryAfter: 5 * time.Second}
	}
	if err := (*held)(); err != nil {
		return &audience.UnavailableError{What: "the writer's lease, without which nothing is written,", RetryAfter: 5 * time.Second, Err: err}
	}
	return nil
}

// tableOf is the table of "table (column, …)".
func tableOf(into string) string {
	table, _, _ := strings.Cut(into, " ")
	return table
}

type step struct {
	doing string
	do    func(context.Context) error
}

func inTurn(ctx context.Context, steps []step) error {
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return nil
}

// Write makes this process the writer: it stops what the one before has left, brings the schema up to date and heals what
// is half-done. From then on held is asked before everything that is the writer's alone; it says why that may not be
// written any more. Call it once.
func (s *Store) Write(ctx context.Context, held func() error) error {
	return inTurn(ctx, []step{
		{"stop writes of an earlier process", func(ctx context.Context) error { return s.stopOrphans(ctx, writerQueries) }},
		{"migrate", s.migrate},
		{"read the newest version", s.readVersions},
		{"read the tombstones of erased users", s.readTombstones},
		{"bring members up to the log", s.healMembers},
		{"bring events_by_user in step with events", s.healEvents},
		{"drop evaluations and trainings of an earlier process", s.dropStaged},
		{"read who is known", s.readKnown},
		{"start the event writer", s.startWriter},
		{"begin", func(context.Context) error { s.held.Store(&held); return nil }}, // last: until then others are refused
	})
}

// HeldAnew replaces the held of Write.
func (s *Store) HeldAnew(held func() error) { s.held.Store(&held) }

// Follow makes the store of a process that is not the writer ready. It is an ErrUnavailable while the writer has not brought
// the schema up to this version's.
func (s *Store) Follow(ctx context.Context) error {
	missing, err := s.missingMigrations(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &audience.UnavailableError{What: "the schema of this version, which the writer of the database does not have,", RetryAfter: time.Second}
	}
	return inTurn(ctx, []step{
		{"read the newest version", s.readVersions},
		{"read the tombstones of erased users", s.readTombstones},
	})
}
