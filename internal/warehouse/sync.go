package warehouse

import (
	"context"
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/sync.sql
var syncSQL string

// syncChunk is how many users of target or ledger are compared at once: the tables are sorted by user, so that a range of
// users is read alone, joined by hash, and forgotten. Memory stays that of a chunk whatever the size of the audience, and
// nothing is sorted or sent to disk. See BenchmarkPlan.
const syncChunk = 250_000

// SyncRows yields, by UserID, the users of the range for whom something may have to be done, and every member who may not
// be sent, with the reason. Users held with exactly what is wanted, and users refused before with exactly what is wanted,
// are passed over unless the range asks for them; SyncTotals counts them.
func (s *Store) SyncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	return s.syncRows(ctx, scope, within, syncChunk)
}

func (s *Store) syncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange, chunk int) iter.Seq2[audience.SyncRow, error] {
	ctx, err := narrowed(ctx, within)
	if err != nil {
		return failed[audience.SyncRow](err)
	}
	condition := "NOT agree"
	switch {
	case within.Urgent:
		condition = "stop OR state = 'sending' AND startsWith(reason, {sharing:String})"
	case within.Held:
		condition = "may_hold AND NOT agree"
	case within.Agreed:
		condition = "NOT agree OR may_hold OR notEmpty(wanted)"
	}
	return func(yield func(audience.SyncRow, error) bool) {
		size := chunk
		if within.Page > 0 {
			size = min(chunk, within.Page)
		}
		rows := size
		next := func() int {
			if rows < size/4 { // few of them differ, so a page of them takes more
				size = min(2*size, chunk)
			}
			rows = 0
			return size
		}
		for part, err := range s.chunksOf(ctx, scope, within, next) {
			if err != nil {
				yield(audience.SyncRow{}, err)
				return
			}
			part.SQL = `SELECT user_id, wanted, value, moved, suppressed, stop, state, held, sent, reason, run, time
				FROM (` + part.SQL + `) WHERE ` + condition + ` ORDER BY user_id`
			for row, err := range stream(ctx, s, part, scanSyncRow) {
				rows++
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

func scanSyncRow(rows driver.Rows) (row audience.SyncRow, err error) {
	var (
		user, state, run string
		wanted, held     []identifierRow
		ledger           audience.Delivery
	)
	err = rows.Scan(&user, &wanted, &row.Value, &row.Moved, &row.Suppressed, &row.Stop, &state, &held, &ledger.Value, &ledger.Reason, &run, &ledger.Time)
	row.User, row.Wanted = audience.UserID(user), identifiersOf(wanted)
	if state != "" {
		ledger.User, ledger.State, ledger.Run = row.User, audience.DeliveryState(state), audience.RunID(run)
		ledger.Identifiers, ledger.Time = identifiersOf(held), orZero(ledger.Time)
		row.Held = ledger
	}
	return row, err
}

// SyncTotals counts everybody of target and ledger.
func (s *Store) SyncTotals(ctx context.Context, scope audience.SyncScope) (audience.SyncTotals, error) {
	return s.syncTotals(ctx, scope, syncChunk)
}

func (s *Store) syncTotals(ctx context.Context, scope audience.SyncScope, chunk int) (sum audience.SyncTotals, err error) {
	for part, err := range s.chunksOf(ctx, scope, audience.SyncRange{}, func() int { return chunk }) {
		if err != nil {
			return sum, fmt.Errorf("count target and ledger: %w", err)
		}
		part.SQL = `SELECT toInt64(countIf(member)), toInt64(countIf(may_hold)),
			toInt64(countIf(agree AND state = 'delivered')), toInt64(countIf(agree AND state = 'rejected' AND notEmpty(wanted)))
			FROM (` + part.SQL + `)`
		totals, _, err := first(ctx, s, part, func(rows driver.Rows) (t audience.SyncTotals, err error) {
			return t, rows.Scan(&t.Members, &t.Held, &t.Unchanged, &t.Rejected)
		})
		if err != nil {
			return sum, fmt.Errorf("count target and ledger: %w", err)
		}
		sum.Members, sum.Held = sum.Members+totals.Members, sum.Held+totals.Held
		sum.Unchanged, sum.Rejected = sum.Unchanged+totals.Unchanged, sum.Rejected+totals.Rejected
	}
	return sum, nil
}

// chunksOf yields the comparison of a scope for one chunk of users after the other, in their order, each of as many as chunk
// says then. Named users are one chunk.
func (s *Store) chunksOf(ctx context.Context, scope audience.SyncScope, within audience.SyncRange, chunk func() int) iter.Seq2[audience.Query, error] {
	return func(yield func(audience.Query, error) bool) {
		for after := within.After; ; {
			until, err := "", error(nil)
			if within.Users == nil {
				until, err = s.chunkEnd(ctx, scope, after, chunk())
			}
			within.After = after
			if !yield(syncQuery(scope, within, until), err) || err != nil || until == "" {
				return
			}
			after = audience.UserID(until)
		}
	}
}

// chunkEnd is the last user of the chunk that begins behind a user; "" when the chunk takes in all that are left.
func (s *Store) chunkEnd(ctx context.Context, scope audience.SyncScope, after audience.UserID, chunk int) (string, error) {
	end, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT min(user) FROM
			(
				SELECT max(user_id) AS user, count() AS users
				FROM (SELECT user_id FROM members WHERE user_id > {after:String} ORDER BY user_id LIMIT {chunk:UInt64})
				UNION ALL
				SELECT max(user_id), count()
				FROM (SELECT user_id FROM deliveries WHERE audience = {audience:UInt32} AND user_id > {after:String} ORDER BY user_id LIMIT {chunk:UInt64})
			) WHERE users = {chunk:UInt64}`,
		Params: map[string]any{"after": string(after), "audience": uint32(scope.Audience), "chunk": uint64(chunk)},
	}, func(rows driver.Rows) (end string, err error) { return end, rows.Scan(&end) })
	return end, err
}

// syncQuery is the comparison of a scope, narrowed to the users of a range, up to and with the last one ("": no last one).
func syncQuery(scope audience.SyncScope, within audience.SyncRange, last string) audience.Query {
	schemes := make([]string, len(scope.Schemes))
	for i, scheme := range scope.Schemes {
		schemes[i] = string(scheme)
	}
	if scope.At.IsZero() {
		scope.At = time.Now()
	}
	params := map[string]any{
		"at": scope.At.UTC(), "audience": uint32(scope.Audience), "segment": uint32(scope.Segment), "purpose": scope.Purpose,
		"destination": string(scope.Destination), "schemes": schemes, "sharing": audience.ReasonSharing, "tolerance": scope.Values.Tolerance,
	}
	users := "true"
	if within.Users != nil {
		users = "user_id IN (SELECT user_id FROM asked)"
	}
	if within.After != "" {
		users += " AND user_id > {after:String}"
		params["after"] = string(within.After)
	}
	if last != "" {
		users += " AND user_id <= {last:String}"
		params["last"] = last
	}
	elsewhere := "false"
	if len(scope.Rivals) > 0 {
		elsewhere = "user_id IN (SELECT user_id FROM deliveries FINAL WHERE has({rivals:Array(UInt32)}, audience) AND " + users + " AND " + mayHold + ")"
		params["rivals"] = uint32s(scope.Rivals)
	}
	valued, value, worth := "true", "0", ""
	if scope.Values.Query.SQL != "" {
		valued, value, worth = "worth.valued", "worth.value", "LEFT JOIN (SELECT user_id, value, true AS valued FROM ("+scope.Values.Query.SQL+
			") WHERE isFinite(value) AND value >= 0) AS worth USING (user_id)"
		maps.Copy(params, scope.Values.Query.Params) // named p0, p1, …
	}
	sql := strings.NewReplacer("{valued}", valued, "{value}", value, "{worth}", worth, "{elsewhere}", elsewhere).Replace(syncSQL)
	return audience.Query{SQL: strings.ReplaceAll(sql, audience.UsersOfValues, users), Params: params}
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
