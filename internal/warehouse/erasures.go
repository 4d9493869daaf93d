package warehouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// tombstone is what is left of an erased user: it tells her id from others, and does not tell the id.
type tombstone [sha256.Size]byte

func (t tombstone) id() string { return hex.EncodeToString(t[:8]) }

// tombstones are those that stand. mu is held for reading from the look at them until what was allowed is written, so that
// whoever has set one up knows that nothing of the user is on its way any more.
type tombstones struct {
	salt string

	mu    sync.RWMutex
	known map[tombstone]struct{}
}

func (t *tombstones) of(user audience.UserID) tombstone {
	return sha256.Sum256([]byte(t.salt + string(user)))
}

// has reports whether a user is erased. mu is held.
func (t *tombstones) has(user audience.UserID) bool {
	if len(t.known) == 0 {
		return false
	}
	_, erased := t.known[t.of(user)]
	return erased
}

// Erased reports whether a user is erased, or about to be: nothing of her is taken in.
func (s *Store) Erased(user audience.UserID) bool {
	s.tombstones.mu.RLock()
	defer s.tombstones.mu.RUnlock()
	return s.tombstones.has(user)
}

// errErased refuses what would make an erased user known again.
func errErased() error {
	return audience.Invalid("user_id", "is of a user who was erased; readmit the id first if it is to name a new person")
}

// readTombstones learns the salt and the tombstones.
func (s *Store) readTombstones(ctx context.Context) error {
	salt, _, err := first(ctx, s, audience.Query{SQL: "SELECT min(salt) FROM erasure_salts"},
		func(rows driver.Rows) (salt string, err error) { return salt, rows.Scan(&salt) })
	if err != nil {
		return err
	}
	s.tombstones.mu.Lock()
	defer s.tombstones.mu.Unlock()
	s.tombstones.salt, s.tombstones.known = salt, map[tombstone]struct{}{}
	for row, err := range stream(ctx, s, audience.Query{SQL: selectErasures + "WHERE state != 'readmitted'"}, scanErasure) {
		if err != nil {
			return err
		}
		s.tombstones.known[row.tombstone] = struct{}{}
	}
	return nil
}

// BeginErasure makes the order to erase a user durable. When it returns, nothing of her is being written any more, nor will
// be. An order that is pending already is given back as it is.
func (s *Store) BeginErasure(ctx context.Context, user audience.UserID) (audience.Erasure, error) {
	mark := s.tombstones.of(user)
	pending, found, err := first(ctx, s, audience.Query{
		SQL:    selectErasures + "WHERE tombstone = unhex({mark:String}) AND state = 'pending'",
		Params: map[string]any{"mark": hex.EncodeToString(mark[:])},
	}, scanErasure)
	if err != nil {
		return audience.Erasure{}, fmt.Errorf("look for an earlier erasure: %w", err)
	}
	if found {
		return pending.Erasure, nil
	}
	erasure := audience.Erasure{ID: mark.id(), User: user, State: audience.ErasurePending, Time: time.Now().UTC()}
	profile, err := s.GetProfile(ctx, user)
	if err != nil && !errors.Is(err, audience.ErrNotFound) {
		return erasure, err
	}
	erasure.Identifiers = profile.Identifiers
	if err := s.writeErasure(ctx, mark, erasure); err != nil {
		return erasure, fmt.Errorf("begin an erasure: %w", err)
	}
	s.tombstones.mu.Lock() // waits for what is being written
	s.tombstones.known[mark] = struct{}{}
	s.tombstones.mu.Unlock()
	return erasure, s.settle(ctx)
}

// PendingErasures are the orders that are not done, the oldest first.
func (s *Store) PendingErasures(ctx context.Context) ([]audience.Erasure, error) {
	if err := s.forgetErased(ctx); err != nil { // an earlier process may have died between the two steps of EndErasure
		return nil, err
	}
	rows, err := all(stream(ctx, s, audience.Query{SQL: selectErasures + "WHERE state = 'pending' ORDER BY time"}, scanErasure))
	if err != nil {
		return nil, fmt.Errorf("read pending erasures: %w", err)
	}
	pending := make([]audience.Erasure, len(rows))
	for i, row := range rows {
		pending[i] = row.Erasure
	}
	return pending, nil
}

// EndErasure says that an erasure is done, and forgets whom it was of but for the tombstone.
func (s *Store) EndErasure(ctx context.Context, erasure audience.Erasure) error {
	mark := s.tombstones.of(erasure.User)
	done := audience.Erasure{State: audience.ErasureDone, Time: erasure.Time}
	if err := s.writeErasure(ctx, mark, done); err != nil {
		return fmt.Errorf("end an erasure: %w", err)
	}
	return s.forgetErased(ctx)
}

// forgetErased deletes the orders, which name their users, of erasures that are done.
func (s *Store) forgetErased(ctx context.Context) error {
	const named = " FROM erasures WHERE user_id != '' AND tombstone NOT IN (SELECT tombstone FROM erasures FINAL WHERE state = 'pending')"
	rows, _, err := first(ctx, s, audience.Query{SQL: "SELECT count()" + named}, scanUint64)
	if err == nil && rows > 0 {
		err = s.Exec(ctx, audience.Query{SQL: "DELETE" + named})
	}
	if err != nil {
		return fmt.Errorf("forget who was erased: %w", err)
	}
	return nil
}

// Readmit lets the id of an erased user be used again, as of a new person. ErrNotFound when no erasure of it is on record,
// ErrPrecondition while one is pending.
func (s *Store) Readmit(ctx context.Context, user audience.UserID) error {
	mark := s.tombstones.of(user)
	row, found, err := first(ctx, s, audience.Query{
		SQL:    selectErasures + "WHERE tombstone = unhex({mark:String})",
		Params: map[string]any{"mark": hex.EncodeToString(mark[:])},
	}, scanErasure)
	switch {
	case err != nil:
		return fmt.Errorf("look for the erasure: %w", err)
	case !found || row.State == audience.ErasureReadmits:
		return &audience.ResourceError{Kind: audience.ErrNotFound, Name: "erasures/" + mark.id()}
	case row.State == audience.ErasurePending:
		return fmt.Errorf("erasures/%s is not done yet; wait for the end of its run: %w", mark.id(), audience.ErrPrecondition)
	}
	row.State = audience.ErasureReadmits
	if err := s.writeErasure(ctx, mark, row.Erasure); err != nil {
		return fmt.Errorf("readmit: %w", err)
	}
	s.tombstones.mu.Lock()
	delete(s.tombstones.known, mark)
	s.tombstones.mu.Unlock()
	return nil
}

func (s *Store) writeErasure(ctx context.Context, mark tombstone, e audience.Erasure) error {
	if err := s.settle(ctx); err != nil { // an order whose insert was lost must not land after its end
		return err
	}
	return s.insert(ctx, "erasures (tombstone, user_id, identifiers, state, time, version)",
		[]string{string(mark[:])}, []string{string(e.User)}, [][]identifierRow{identifierRows(e.Identifiers)},
		[]string{string(e.State)}, []int64{millis(e.Time)}, []uint64{s.versions.next()})
}

const selectErasures = "SELECT tombstone, user_id, identifiers, state, time FROM erasures FINAL "

type erasureRow struct {
	tombstone
	audience.Erasure
}

func scanErasure(rows driver.Rows) (row erasureRow, err error) {
	var mark, user, state string
	var identifiers []identifierRow
	err = rows.Scan(&mark, &user, &identifiers, &state, &row.Time)
	copy(row.tombstone[:], mark)
	row.Erasure = audience.Erasure{ID: row.id(), User: audience.UserID(user), Identifiers: identifiersOf(identifiers),
		State: audience.ErasureState(state), Time: row.Time.UTC()}
	return row, err
}
