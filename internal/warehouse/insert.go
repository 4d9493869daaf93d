package warehouse

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
)

// settleTimeout bounds how long a failed insert waits for certainty about itself.
const settleTimeout = 10 * time.Second

// unsettled are inserts of which it is unknown whether ClickHouse still works on them: their answer was lost. What must
// not be overtaken by one that lands late waits until they are killed.
type unsettled struct {
	mu  sync.Mutex
	ids []string // of queries
}

// insert writes columns of equal length as one block: into is "table (column, …)", columns are slices in that order.
// After an error some of the rows may be stored, but none will be any more, unless ClickHouse is out of reach: then
// settle makes it certain later.
func (s *Store) insert(ctx context.Context, into string, columns ...any) error {
	sort, may := writerQueries, s.MayWrite
	if sharedTables[tableOf(into)] {
		sort, may = sharedQueries, func() error { return nil }
	}
	if err := may(); err != nil {
		return err
	}
	id := s.queryPrefix() + sort + uuid.NewString()
	err := s.send(clickhouse.Context(ctx, clickhouse.WithQueryID(id)), into, columns, may)
	if err == nil {
		return nil
	}
	s.unsettled.mu.Lock()
	s.unsettled.ids = append(s.unsettled.ids, id)
	s.unsettled.mu.Unlock()
	if unsure := s.settle(context.WithoutCancel(ctx)); unsure != nil {
		s.log.Warn("an insert failed with clickhouse out of reach", "error", unsure)
	}
	return translated(ctx, err)
}

// send has ClickHouse begin an insert, asks whether it may still be, and hands over the rows. So no insert of the writer
// outlives its part, however late it arrives and however long this process is paused in between: one that ClickHouse knew
// while this process was the writer is killed by the next one, and one that it did not know gets no rows.
func (s *Store) send(ctx context.Context, into string, columns []any, may func() error) error {
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+into) // returns once ClickHouse has answered
	if err != nil {
		return err
	}
	if err := may(); err != nil {
		_ = batch.Abort()
		return err
	}
	for i, values := range columns {
		if err := batch.Column(i).Append(values); err != nil {
			_ = batch.Abort()
			return err
		}
	}
	return batch.Send()
}

// settle kills every insert whose answer was lost and returns once none of them can write any more.
func (s *Store) settle(ctx context.Context) error {
	s.unsettled.mu.Lock()
	ids := slices.Clone(s.unsettled.ids)
	s.unsettled.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := s.kill(ctx, "has({ids:Array(String)}, query_id)", map[string]any{"ids": ids}); err != nil {
		return fmt.Errorf("stop %d inserts whose answer was lost: %w", len(ids), err)
	}
	s.unsettled.mu.Lock()
	s.unsettled.ids = slices.DeleteFunc(s.unsettled.ids, func(id string) bool { return slices.Contains(ids, id) })
	s.unsettled.mu.Unlock()
	return nil
}

// What the ids of inserts go on with: those of the writer, and those that any process may do.
const (
	writerQueries = "w-"
	sharedQueries = "s-"
)

// stopOrphans kills the inserts of a sort ("": of both) that a process which died has left in ClickHouse, before anything is
// read.
func (s *Store) stopOrphans(ctx context.Context, sort string) error {
	return s.kill(ctx, "startsWith(query_id, {prefix:String})", map[string]any{"prefix": s.queryPrefix() + sort})
}

// kill stops queries and waits until they are gone.
func (s *Store) kill(ctx context.Context, condition string, params map[string]any) error {
	return s.Exec(ctx, audience.Query{SQL: "KILL QUERY WHERE " + condition + " SYNC", Params: params})
}

func (s *Store) queryPrefix() string { return "kohorta-" + s.database + "-" }
