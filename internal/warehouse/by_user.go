package warehouse

import (
	"context"
	"fmt"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
)

// byUser guards events_by_user, which a materialized view fills from events: an INSERT that fails half-way may leave a
// batch in one of the two tables only. The one writer begins no batch before the last one is whole in both, so that only
// the newest batch is ever in doubt.
type byUser struct {
	mu    sync.Mutex
	doubt uint64 // batch; 0: none
}

// batchFailed notes a batch whose INSERT has failed.
func (s *Store) batchFailed(batch uint64) {
	s.byUser.mu.Lock()
	defer s.byUser.mu.Unlock()
	s.byUser.doubt = batch
}

// completeEvents makes a failed batch whole. It costs nothing when there is none.
func (s *Store) completeEvents(ctx context.Context) error {
	s.byUser.mu.Lock()
	defer s.byUser.mu.Unlock()
	if s.byUser.doubt == 0 {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.completeBatch(ctx, s.byUser.doubt); err != nil {
		return fmt.Errorf("bring events_by_user in step with events: %w", err)
	}
	s.byUser.doubt = 0
	return nil
}

// healEvents makes the batch whole that an earlier process may have left half-done.
func (s *Store) healEvents(ctx context.Context) error {
	newest, _, err := first(ctx, s, audience.Query{
		SQL: "SELECT greatest((SELECT max(batch) FROM events), (SELECT max(batch) FROM events_by_user))",
	}, scanUint64)
	if err != nil || newest == 0 {
		return err
	}
	s.versions.startAfter(newest)
	s.batchFailed(newest)
	return s.completeEvents(ctx)
}

const eventKeyOfBatch = "(user_id, type, time, event_id) NOT IN (SELECT user_id, type, time, event_id FROM %s WHERE batch = {batch:UInt64})"

// completeBatch gives events_by_user the rows of a batch that events has, and no other.
func (s *Store) completeBatch(ctx context.Context, batch uint64) error {
	params := map[string]any{"batch": batch}
	surplus := " events_by_user WHERE batch = {batch:UInt64} AND " + fmt.Sprintf(eventKeyOfBatch, "events")
	extra, _, err := first(ctx, s, audience.Query{SQL: "SELECT count() FROM" + surplus, Params: params}, scanUint64)
	if err != nil {
		return err
	}
	if extra > 0 {
		if err := s.Exec(ctx, audience.Query{SQL: "DELETE FROM" + surplus, Params: params}); err != nil {
			return err
		}
	}
	return s.Exec(ctx, audience.Query{SQL: `
INSERT INTO events_by_user (user_id, type, time, event_id, value_micros, texts, numbers, order_hash, batch)
SELECT user_id, type, time, event_id, value_micros, texts, numbers, order_hash, batch FROM events
WHERE batch = {batch:UInt64} AND ` + fmt.Sprintf(eventKeyOfBatch, "events_by_user"), Params: params})
}
