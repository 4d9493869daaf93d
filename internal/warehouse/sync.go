package warehouse

import (
	"context"
	_ "embed"
	"fmt"
	"iter"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/sync.sql
var syncSQL string

// mergeJoins joins sorted sides; what has to be sorted on the way goes to disk rather than beyond a bound of memory.
const mergeJoins = ` SETTINGS join_algorithm = 'full_sorting_merge',
	max_bytes_before_external_sort = 500000000, max_bytes_before_external_group_by = 500000000`

// SyncRows yields, by UserID, the users for whom something may have to be done, and every member who may not be sent,
// with the reason. Users held with exactly what is wanted, and users refused before with exactly what is wanted, are
// passed over; SyncTotals counts them.
func (s *Store) SyncRows(ctx context.Context, scope audience.SyncScope) iter.Seq2[audience.SyncRow, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, wanted, suppressed, state, held, reason, run, time
			FROM (` + syncSQL + `) WHERE NOT agree ORDER BY user_id` + mergeJoins,
		Params: syncParams(scope),
	}, func(rows driver.Rows) (row audience.SyncRow, err error) {
		var (
			user, state, run string
			wanted, held     []identifierRow
			ledger           audience.Delivery
		)
		err = rows.Scan(&user, &wanted, &row.Suppressed, &state, &held, &ledger.Reason, &run, &ledger.Time)
		row.User, row.Wanted = audience.UserID(user), identifiersOf(wanted)
		if state != "" {
			ledger.User, ledger.State, ledger.Run = row.User, audience.DeliveryState(state), audience.RunID(run)
			ledger.Identifiers, ledger.Time = identifiersOf(held), orZero(ledger.Time)
			row.Held = ledger
		}
		return row, err
	})
}

// SyncTotals counts everybody of target and ledger.
func (s *Store) SyncTotals(ctx context.Context, scope audience.SyncScope) (audience.SyncTotals, error) {
	totals, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT toInt64(countIf(member)), toInt64(countIf(state IN ('sending', 'delivered', 'removing'))),
			toInt64(countIf(agree AND state = 'delivered')), toInt64(countIf(agree AND state = 'rejected' AND notEmpty(wanted)))
			FROM (` + syncSQL + `)` + mergeJoins,
		Params: syncParams(scope),
	}, func(rows driver.Rows) (t audience.SyncTotals, err error) {
		return t, rows.Scan(&t.Members, &t.Held, &t.Unchanged, &t.Rejected)
	})
	if err != nil {
		return totals, fmt.Errorf("count target and ledger: %w", err)
	}
	return totals, nil
}

func syncParams(scope audience.SyncScope) map[string]any {
	schemes := make([]string, len(scope.Schemes))
	for i, scheme := range scope.Schemes {
		schemes[i] = string(scheme)
	}
	return map[string]any{
		"audience": uint32(scope.Audience), "segment": uint32(scope.Segment), "purpose": scope.Purpose,
		"destination": string(scope.Destination), "schemes": schemes,
	}
}
