package warehouse

import (
	"context"
	_ "embed"
	"fmt"
	"iter"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/sync.sql
var syncSQL string

// mergeJoins joins sorted sides; what has to be sorted on the way goes to disk rather than beyond a bound of memory.
const mergeJoins = ` SETTINGS join_algorithm = 'full_sorting_merge',
	max_bytes_before_external_sort = 500000000, max_bytes_before_external_group_by = 500000000`

// SyncRows yields, by UserID, the users of the range for whom something may have to be done, and every member who may not
// be sent, with the reason. Users held with exactly what is wanted, and users refused before with exactly what is wanted,
// are passed over; SyncTotals counts them.
func (s *Store) SyncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	sql, params := syncQuery(scope, within)
	condition := "NOT agree"
	if within.Stops {
		condition = "stop"
	}
	ctx, err := narrowed(ctx, within)
	if err != nil {
		return failed[audience.SyncRow](err)
	}
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, wanted, suppressed, stop, state, held, reason, run, time
			FROM (` + sql + `) WHERE ` + condition + ` ORDER BY user_id` + mergeJoins,
		Params: params,
	}, func(rows driver.Rows) (row audience.SyncRow, err error) {
		var (
			user, state, run string
			wanted, held     []identifierRow
			ledger           audience.Delivery
		)
		err = rows.Scan(&user, &wanted, &row.Suppressed, &row.Stop, &state, &held, &ledger.Reason, &run, &ledger.Time)
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
	sql, params := syncQuery(scope, audience.SyncRange{})
	totals, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT toInt64(countIf(member)), toInt64(countIf(may_hold)),
			toInt64(countIf(agree AND state = 'delivered')), toInt64(countIf(agree AND state = 'rejected' AND notEmpty(wanted)))
			FROM (` + sql + `)` + mergeJoins,
		Params: params,
	}, func(rows driver.Rows) (t audience.SyncTotals, err error) {
		return t, rows.Scan(&t.Members, &t.Held, &t.Unchanged, &t.Rejected)
	})
	if err != nil {
		return totals, fmt.Errorf("count target and ledger: %w", err)
	}
	return totals, nil
}

// syncQuery is the comparison of a scope, narrowed to the users of a range.
func syncQuery(scope audience.SyncScope, within audience.SyncRange) (sql string, params map[string]any) {
	schemes := make([]string, len(scope.Schemes))
	for i, scheme := range scope.Schemes {
		schemes[i] = string(scheme)
	}
	params = map[string]any{
		"audience": uint32(scope.Audience), "segment": uint32(scope.Segment), "purpose": scope.Purpose,
		"destination": string(scope.Destination), "schemes": schemes,
	}
	users := "true"
	if within.Users != nil {
		users = "user_id IN (SELECT user_id FROM asked)"
	}
	if within.After != "" {
		users += " AND user_id > {after:String}"
		params["after"] = string(within.After)
	}
	elsewhere := "false"
	if len(scope.Rivals) > 0 {
		elsewhere = "user_id IN (SELECT user_id FROM deliveries FINAL WHERE has({rivals:Array(UInt32)}, audience) AND " + users + " AND " + mayHold + ")"
		params["rivals"] = uint32s(scope.Rivals)
	}
	return strings.NewReplacer("{range}", users, "{elsewhere}", elsewhere).Replace(syncSQL), params
}

// mayHold are the states of the ledger in which the platform holds or may hold the user.
const mayHold = "state IN ('sending', 'delivered', 'removing')"

// narrowed gives a query the users of a range.
func narrowed(ctx context.Context, within audience.SyncRange) (context.Context, error) {
	if within.Users == nil {
		return ctx, nil
	}
	return withUsers(ctx, within.Users)
}

// failed yields nothing but an error.
func failed[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}
