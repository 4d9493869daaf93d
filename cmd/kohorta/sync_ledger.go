package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
)

// errTurned ends the reading of a target whose definition is no longer in force: its members are on record no longer, and
// nobody is to be removed from a platform for that.
var errTurned = errors.New("another definition of the segment came into force meanwhile; sync again")

// syncLedger is the store as delivery sees it: a target is read by one definition from its beginning to its end, and by the
// service's clock.
type syncLedger struct {
	*warehouse.Store
	edition func(context.Context) (*audience.Edition, error)
	now     func() time.Time
}

// ledgerRows is how many rows are held back until it is certain that they are of the definition in force.
const ledgerRows = 1000

// SyncRows yields the rows of one definition; see warehouse.Store.
func (l syncLedger) SyncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	scope.At = l.now()
	return func(yield func(audience.SyncRow, error) bool) {
		rows := make([]audience.SyncRow, 0, ledgerRows)
		pass := func() bool { // those that were read while the definition was in force
			if err := l.unturned(ctx, scope); err != nil {
				yield(audience.SyncRow{}, err)
				return false
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return false
				}
			}
			rows = rows[:0]
			return true
		}
		for row, err := range l.Store.SyncRows(ctx, scope, within) {
			if err != nil {
				yield(row, err)
				return
			}
			if rows = append(rows, row); len(rows) == ledgerRows && !pass() {
				return
			}
		}
		pass()
	}
}

// SyncTotals counts by one definition; see warehouse.Store.
func (l syncLedger) SyncTotals(ctx context.Context, scope audience.SyncScope) (audience.SyncTotals, error) {
	scope.At = l.now()
	totals, err := l.Store.SyncTotals(ctx, scope)
	if err == nil {
		err = l.unturned(ctx, scope)
	}
	return totals, err
}

// unturned is an errTurned unless readers see what the scope's number stands for; 0 is a segment that has no members.
func (l syncLedger) unturned(ctx context.Context, scope audience.SyncScope) error {
	edition, err := l.edition(ctx)
	if err == nil && scope.Segment != 0 && len(edition.IDs([]audience.Number{scope.Segment})) == 0 {
		err = fmt.Errorf("%w: %w", errTurned, audience.ErrConflict)
	}
	return err
}
