package warehouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// PutRun stores the run as it is now; an earlier state of it is superseded.
func (s *Store) PutRun(ctx context.Context, run audience.Run) error {
	counts := run.Counts
	if counts == nil {
		counts = map[string]int64{}
	}
	if err := s.insert(ctx, `runs (id, version, kind, subject, state, stage, done_units, total_units, counts, notes, error, create_time, end_time)`,
		[]string{string(run.ID)}, []uint64{s.versions.next()}, []string{string(run.Kind)}, []string{run.Subject}, []string{string(run.State)},
		[]string{run.Stage}, []int64{run.DoneUnits}, []int64{run.TotalUnits}, []map[string]int64{counts}, [][]string{run.Notes},
		[]string{run.Error}, []int64{millis(run.CreateTime)}, []int64{millis(run.EndTime)}); err != nil {
		return fmt.Errorf("store run %s: %w", run.ID, err)
	}
	return nil
}

// GetRun reads one run.
func (s *Store) GetRun(ctx context.Context, id audience.RunID) (audience.Run, error) {
	run, found, err := first(ctx, s, audience.Query{
		SQL:    selectRuns + "WHERE id = {id:String}",
		Params: map[string]any{"id": string(id)},
	}, scanRun)
	switch {
	case err != nil:
		return run, fmt.Errorf("read run %s: %w", id, err)
	case !found:
		return run, &audience.ResourceError{Kind: audience.ErrNotFound, Name: "runs/" + string(id)}
	}
	return run, nil
}

// ListRuns reads up to limit runs (0: all), newest first, that are older than before ("": from the newest).
func (s *Store) ListRuns(ctx context.Context, filter audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error) {
	runs, err := all(stream(ctx, s, audience.Query{
		SQL: selectRuns + `WHERE ({before:String} = '' OR id < {before:String}) AND {kind:String} IN ('', kind)
			AND {subject:String} IN ('', subject) AND {state:String} IN ('', state) ORDER BY id DESC` + limited(limit),
		Params: map[string]any{
			"before": string(before), "kind": string(filter.Kind), "subject": filter.Subject, "state": string(filter.State),
		},
	}, scanRun))
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

const selectRuns = `SELECT id, kind, subject, state, stage, done_units, total_units, counts, notes, error, create_time, end_time FROM runs FINAL `

func scanRun(rows driver.Rows) (run audience.Run, err error) {
	var id, kind, state string
	err = rows.Scan(&id, &kind, &run.Subject, &state, &run.Stage, &run.DoneUnits, &run.TotalUnits, &run.Counts, &run.Notes,
		&run.Error, &run.CreateTime, &run.EndTime)
	run.ID, run.Kind, run.State = audience.RunID(id), audience.RunKind(kind), audience.RunState(state)
	run.CreateTime, run.EndTime = orZero(run.CreateTime), orZero(run.EndTime)
	return run, err
}
