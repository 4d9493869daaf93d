package warehouse

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
)

// complete makes good writes that have failed half-way, so that an evaluation reads what is, and compares with it. Nothing
// that was given up lands later.
func (s *Store) complete(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.completeEvents(ctx); err != nil {
		return err
	}
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	return s.completeMembers(ctx)
}

// stagedPrefix begins the tables that hold an evaluation of everybody. One left over belongs to a process that died.
const stagedPrefix = "evaluation_"

// trainingPrefix begins the tables that hold what a training has measured.
const trainingPrefix = "staging_"

// Stage runs the evaluation of everybody (rows of user_id String, segments Array(UInt32), ascending, and due Int64, in
// milliseconds, 0 for never; each user once) into a table of its own and returns its name, for
// StagedChanges and AddStagedTimers. Unstage drops it.
func (s *Store) Stage(ctx context.Context, q audience.Query) (staged string, err error) {
	if err := s.complete(ctx); err != nil {
		return "", err
	}
	staged = stagedPrefix + strings.ReplaceAll(uuid.NewString(), "-", "")
	err = s.Exec(ctx, audience.Query{SQL: fmt.Sprintf(
		"CREATE TABLE %s ENGINE = MergeTree ORDER BY user_id AS SELECT user_id, segments, due FROM (%s)", staged, q.SQL), Params: q.Params})
	return staged, err
}

// StagedChanges compares a staged evaluation with the membership on record and yields the users where they differ, by
// UserID, without version, time and cause. Users on record whom the evaluation does not name hold no segment.
func (s *Store) StagedChanges(ctx context.Context, staged string) iter.Seq2[audience.Change, error] {
	return s.Diff(ctx, audience.Query{SQL: "SELECT user_id, segments FROM " + staged})
}

// Unstage drops a staged evaluation.
func (s *Store) Unstage(ctx context.Context, staged string) error {
	return s.Exec(ctx, audience.Query{SQL: "DROP TABLE IF EXISTS " + staged})
}

// dropStaged drops what a process that died has left.
func (s *Store) dropStaged(ctx context.Context) error {
	left, err := all(stream(ctx, s, audience.Query{
		SQL: "SELECT name FROM system.tables WHERE database = currentDatabase() AND" +
			" (startsWith(name, {evaluation:String}) OR startsWith(name, {training:String}))",
		Params: map[string]any{"evaluation": stagedPrefix, "training": trainingPrefix},
	}, func(rows driver.Rows) (name string, err error) { return name, rows.Scan(&name) }))
	for _, name := range left {
		if err == nil {
			err = s.Unstage(ctx, name)
		}
	}
	return err
}
