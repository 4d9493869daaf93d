package warehouse

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/source.sql
var sourceSQL string

// PutHeldPlan stores a plan as the newest held one of its audience.
func (s *Store) PutHeldPlan(ctx context.Context, number audience.Number, held audience.HeldPlan) error {
	if err := s.settle(ctx); err != nil { // a plan whose insert was lost must not outlive its decision
		return err
	}
	document, err := json.Marshal(held.Plan)
	if err != nil {
		return fmt.Errorf("store a held plan: %w", err)
	}
	if err := s.insert(ctx, "held_plans (audience, run, state, plan, time, expires, version)",
		[]uint32{uint32(number)}, []string{string(held.Run)}, []string{string(held.State)}, []string{string(document)},
		[]int64{millis(held.Time)}, []int64{millis(held.Expires)}, []uint64{s.versions.next()}); err != nil {
		return fmt.Errorf("store a held plan: %w", err)
	}
	return nil
}

// HeldPlan is the newest held plan of an audience; one without State when there never was any.
func (s *Store) HeldPlan(ctx context.Context, number audience.Number) (audience.HeldPlan, error) {
	held, _, err := first(ctx, s, audience.Query{
		SQL:    "SELECT run, state, plan, time, expires FROM held_plans FINAL WHERE audience = {audience:UInt32}",
		Params: map[string]any{"audience": uint32(number)},
	}, func(rows driver.Rows) (held audience.HeldPlan, err error) {
		var run, state, document string
		if err := rows.Scan(&run, &state, &document, &held.Time, &held.Expires); err != nil {
			return held, err
		}
		held.Run, held.State = audience.RunID(run), audience.HeldState(state)
		held.Time, held.Expires = orZero(held.Time), orZero(held.Expires)
		return held, json.Unmarshal([]byte(document), &held.Plan)
	})
	if err != nil {
		return held, fmt.Errorf("read the held plan: %w", err)
	}
	return held, nil
}

// RecordSync stores what a sync went by.
func (s *Store) RecordSync(ctx context.Context, number audience.Number, r audience.SyncRecord) error {
	if err := s.insert(ctx, "sync_records (audience, time, run, expression, members, unidentifiable, evaluated, newest, events, distinct, users)",
		[]uint32{uint32(number)}, []int64{millis(r.Time)}, []string{string(r.Run)}, []string{r.Expression}, []int64{r.Members},
		[]int64{r.Unidentifiable}, []int64{millis(r.Source.Evaluated)}, []int64{millis(r.Source.Newest)}, []int64{r.Source.Events},
		[]int64{r.Source.Distinct}, []int64{r.Source.Users}); err != nil {
		return fmt.Errorf("record what a sync went by: %w", err)
	}
	return nil
}

// PastSyncs are the last records of each day since a time, newest first.
func (s *Store) PastSyncs(ctx context.Context, number audience.Number, since time.Time) ([]audience.SyncRecord, error) {
	records, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT run, time, expression, members, unidentifiable, evaluated, newest, events, distinct, users FROM sync_records FINAL
			WHERE audience = {audience:UInt32} AND time >= {since:DateTime64(3)} ORDER BY time DESC LIMIT 1 BY toDate(time)`,
		Params: map[string]any{"audience": uint32(number), "since": since.UTC()},
	}, func(rows driver.Rows) (r audience.SyncRecord, err error) {
		var run string
		err = rows.Scan(&run, &r.Time, &r.Expression, &r.Members, &r.Unidentifiable, &r.Source.Evaluated, &r.Source.Newest,
			&r.Source.Events, &r.Source.Distinct, &r.Source.Users)
		r.Run, r.Time = audience.RunID(run), orZero(r.Time)
		r.Source.Evaluated, r.Source.Newest = orZero(r.Source.Evaluated), orZero(r.Source.Newest)
		return r, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read past syncs: %w", err)
	}
	return records, nil
}

// Source is the state of what membership is computed from.
func (s *Store) Source(ctx context.Context, at time.Time) (audience.Source, error) {
	source, _, err := first(ctx, s, audience.Query{SQL: sourceSQL, Params: map[string]any{"at": at.UTC()}},
		func(rows driver.Rows) (source audience.Source, err error) {
			err = rows.Scan(&source.Evaluated, &source.Newest, &source.Events, &source.Distinct, &source.Users)
			source.Evaluated, source.Newest = orZero(source.Evaluated), orZero(source.Newest)
			return source, err
		})
	if err != nil {
		return source, fmt.Errorf("look at the source: %w", err)
	}
	return source, nil
}
