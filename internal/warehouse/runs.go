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
	if err := s.insert(ctx, `runs (id, version, kind, subject, state, stage, done_units, total_units, counts, notes, error, create_time, end_time, occasion, due, resumes, holder)`,
		[]string{string(run.ID)}, []uint64{s.versions.next()}, []string{string(run.Kind)}, []string{run.Subject}, []string{string(run.State)},
		[]string{run.Stage}, []int64{run.DoneUnits}, []int64{run.TotalUnits}, []map[string]int64{counts}, [][]string{run.Notes},
		[]string{run.Error}, []int64{millis(run.CreateTime)}, []int64{millis(run.EndTime)},
		[]string{string(run.Occasion)}, []int64{millis(run.Due)}, []string{string(run.Resumes)}, []string{run.Holder}); err != nil {
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

const selectRuns = `SELECT id, kind, subject, state, stage, done_units, total_units, counts, notes, error, create_time, end_time,
	occasion, due, resumes, holder FROM runs FINAL `

func scanRun(rows driver.Rows) (run audience.Run, err error) {
	var id, kind, state, occasion, resumes string
	err = rows.Scan(&id, &kind, &run.Subject, &state, &run.Stage, &run.DoneUnits, &run.TotalUnits, &run.Counts, &run.Notes,
		&run.Error, &run.CreateTime, &run.EndTime, &occasion, &run.Due, &resumes, &run.Holder)
	run.ID, run.Kind, run.State = audience.RunID(id), audience.RunKind(kind), audience.RunState(state)
	run.Occasion, run.Resumes = audience.Occasion(occasion), audience.RunID(resumes)
	run.CreateTime, run.EndTime, run.Due = orZero(run.CreateTime), orZero(run.EndTime), orZero(run.Due)
	return run, err
}

// LastRuns yields, of each kind and subject with a run that is not older than one (""; all), the newest run, and the newest
// Due of these.
func (s *Store) LastRuns(ctx context.Context, from audience.RunID) ([]audience.LastRun, error) {
	last, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT kind, subject, max(id), argMax(state, id), argMax(occasion, id), argMax(due, id), argMax(create_time, id), max(due)
			FROM runs FINAL WHERE id >= {from:String} GROUP BY kind, subject`,
		Params: map[string]any{"from": string(from)},
	}, func(rows driver.Rows) (last audience.LastRun, err error) {
		var kind, id, state, occasion string
		err = rows.Scan(&kind, &last.Subject, &id, &state, &occasion, &last.Due, &last.CreateTime, &last.DueDone)
		last.Kind, last.ID, last.State, last.Occasion = audience.RunKind(kind), audience.RunID(id), audience.RunState(state), audience.Occasion(occasion)
		last.Due, last.CreateTime, last.DueDone = orZero(last.Due), orZero(last.CreateTime), orZero(last.DueDone)
		return last, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read the newest runs: %w", err)
	}
	return last, nil
}

// OrderCancel has the process that works on a run stop it.
func (s *Store) OrderCancel(ctx context.Context, id audience.RunID) error {
	if err := s.insert(ctx, "run_cancels (id)", []string{string(id)}); err != nil {
		return fmt.Errorf("order run %s to stop: %w", id, err)
	}
	return nil
}

// OrderedCancels are those of the runs that were ordered to stop.
func (s *Store) OrderedCancels(ctx context.Context, of []audience.RunID) ([]audience.RunID, error) {
	ids := make([]string, len(of))
	for i, id := range of {
		ids[i] = string(id)
	}
	ordered, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT DISTINCT id FROM run_cancels WHERE has({ids:Array(String)}, id)",
		Params: map[string]any{"ids": ids},
	}, func(rows driver.Rows) (id audience.RunID, err error) {
		var text string
		err = rows.Scan(&text)
		return audience.RunID(text), err
	}))
	if err != nil {
		return nil, fmt.Errorf("read orders to stop runs: %w", err)
	}
	return ordered, nil
}
