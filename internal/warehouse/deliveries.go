package warehouse

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// RecordDeliveries writes rows into the ledger of an audience; each supersedes the user's earlier one.
func (s *Store) RecordDeliveries(ctx context.Context, ledger audience.Number, deliveries []audience.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	if err := s.settle(ctx); err != nil { // an intent whose insert was lost must not land after what follows it
		return err
	}
	n := len(deliveries)
	var (
		audiences   = make([]uint32, n)
		users       = make([]string, n)
		states      = make([]string, n)
		identifiers = make([][]identifierRow, n)
		values      = make([]float64, n)
		reasons     = make([]string, n)
		runs        = make([]string, n)
		times       = make([]int64, n)
		versions    = make([]uint64, n)
	)
	version := s.versions.next()
	for i, d := range deliveries {
		audiences[i], users[i], states[i], versions[i] = uint32(ledger), string(d.User), string(d.State), cmp.Or(d.Version, version)
		identifiers[i], values[i], reasons[i], runs[i], times[i] = identifierRows(inOrder(d.Identifiers)), d.Value, d.Reason, string(d.Run), millis(d.Time)
	}
	if err := s.insert(ctx, "deliveries (audience, user_id, state, identifiers, value, reason, run, time, version)",
		audiences, users, states, identifiers, values, reasons, runs, times, versions); err != nil {
		return fmt.Errorf("record %d deliveries: %w", n, err)
	}
	return nil
}

// Deliveries yields the ledger of an audience, by UserID.
func (s *Store) Deliveries(ctx context.Context, ledger audience.Number) iter.Seq2[audience.Delivery, error] {
	return s.deliveries(ctx, ledger, "true")
}

// Sharers yields the rows of a ledger that are delivered and hold one of the identifiers, by UserID.
func (s *Store) Sharers(ctx context.Context, ledger audience.Number, identifiers []audience.Identifier) iter.Seq2[audience.Delivery, error] {
	values := make([]audience.UserID, len(identifiers))
	for i, identifier := range identifiers {
		values[i] = audience.UserID(identifier.Value)
	}
	ctx, err := withUsers(ctx, values)
	if err != nil {
		return failed[audience.Delivery](err)
	}
	// Found in any version of a row first: reading values alone is several times faster than reading the newest rows.
	candidates := s.deliveries(ctx, ledger, `state = 'delivered' AND user_id IN (
		SELECT user_id FROM deliveries ARRAY JOIN identifiers.value AS value
		WHERE audience = {audience:UInt32} AND value IN (SELECT user_id FROM asked))`)
	return func(yield func(audience.Delivery, error) bool) {
		asked := make(map[audience.Identifier]bool, len(identifiers))
		for _, identifier := range identifiers {
			asked[identifier] = true
		}
		for row, err := range candidates {
			if err == nil && !slices.ContainsFunc(row.Identifiers, func(i audience.Identifier) bool { return asked[i] }) {
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// HeldBy names those of the users whom one of the ledgers holds or may hold.
func (s *Store) HeldBy(ctx context.Context, ledgers []audience.Number, users []audience.UserID) ([]audience.UserID, error) {
	ctx, err := withUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	held, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT DISTINCT user_id FROM deliveries FINAL
			WHERE has({ledgers:Array(UInt32)}, audience) AND user_id IN (SELECT user_id FROM asked) AND ` + mayHold,
		Params: map[string]any{"ledgers": uint32s(ledgers)},
	}, func(rows driver.Rows) (user string, err error) { return user, rows.Scan(&user) }))
	if err != nil {
		return nil, fmt.Errorf("ask who is held elsewhere: %w", err)
	}
	list := make([]audience.UserID, len(held))
	for i, user := range held {
		list[i] = audience.UserID(user)
	}
	return list, nil
}

// deliveries yields the rows of a ledger that meet a condition, by UserID.
func (s *Store) deliveries(ctx context.Context, ledger audience.Number, condition string) iter.Seq2[audience.Delivery, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, state, identifiers, value, reason, run, time FROM deliveries FINAL
			WHERE audience = {audience:UInt32} AND ` + condition + ` ORDER BY user_id`,
		Params: map[string]any{"audience": uint32(ledger)},
	}, func(rows driver.Rows) (delivery audience.Delivery, err error) {
		var user, state, run string
		var identifiers []identifierRow
		err = rows.Scan(&user, &state, &identifiers, &delivery.Value, &delivery.Reason, &run, &delivery.Time)
		delivery.User, delivery.State, delivery.Run = audience.UserID(user), audience.DeliveryState(state), audience.RunID(run)
		delivery.Identifiers, delivery.Time = identifiersOf(identifiers), orZero(delivery.Time)
		return delivery, err
	})
}
