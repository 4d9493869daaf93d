package warehouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// RecordAction writes an entry of the audit.
func (s *Store) RecordAction(ctx context.Context, a audience.Action) error {
	if err := s.insert(ctx, "audit (id, time, actor, call, resource, run, request_id)", []string{a.ID}, []int64{millis(a.Time)}, []string{a.Actor},
		[]string{a.Call}, []string{a.Resource}, []string{string(a.Run)}, []string{a.RequestID}); err != nil {
		return fmt.Errorf("record an action: %w", err)
	}
	return nil
}

// Actions reads up to limit entries of the audit that are older than before ("": from the newest), newest first. An empty
// actor or resource narrows nothing.
func (s *Store) Actions(ctx context.Context, actor, resource, before string, limit int) ([]audience.Action, error) {
	actions, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT id, time, actor, call, resource, run, request_id FROM audit
			WHERE ({before:String} = '' OR id < {before:String}) AND {actor:String} IN ('', actor) AND {resource:String} IN ('', resource)
			ORDER BY id DESC` + limited(limit),
		Params: map[string]any{"before": before, "actor": actor, "resource": resource},
	}, func(rows driver.Rows) (a audience.Action, err error) {
		var run string
		err = rows.Scan(&a.ID, &a.Time, &a.Actor, &a.Call, &a.Resource, &run, &a.RequestID)
		a.Time, a.Run = a.Time.UTC(), audience.RunID(run)
		return a, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return actions, nil
}
