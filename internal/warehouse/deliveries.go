package warehouse

import (
	"context"
	"fmt"
	"iter"

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
		reasons     = make([]string, n)
		runs        = make([]string, n)
		times       = make([]int64, n)
		versions    = make([]uint64, n)
	)
	version := s.versions.next()
	for i, d := range deliveries {
		audiences[i], users[i], states[i], versions[i] = uint32(ledger), string(d.User), string(d.State), version
		identifiers[i], reasons[i], runs[i], times[i] = identifierRows(inOrder(d.Identifiers)), d.Reason, string(d.Run), millis(d.Time)
	}
	if err := s.insert(ctx, "deliveries (audience, user_id, state, identifiers, reason, run, time, version)",
		audiences, users, states, identifiers, reasons, runs, times, versions); err != nil {
		return fmt.Errorf("record %d deliveries: %w", n, err)
	}
	return nil
}

// Deliveries yields the ledger of an audience, by UserID.
func (s *Store) Deliveries(ctx context.Context, ledger audience.Number) iter.Seq2[audience.Delivery, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, state, identifiers, reason, run, time FROM deliveries FINAL
			WHERE audience = {audience:UInt32} ORDER BY user_id`,
		Params: map[string]any{"audience": uint32(ledger)},
	}, func(rows driver.Rows) (delivery audience.Delivery, err error) {
		var user, state, run string
		var identifiers []identifierRow
		err = rows.Scan(&user, &state, &identifiers, &delivery.Reason, &run, &delivery.Time)
		delivery.User, delivery.State, delivery.Run = audience.UserID(user), audience.DeliveryState(state), audience.RunID(run)
		delivery.Identifiers, delivery.Time = identifiersOf(identifiers), orZero(delivery.Time)
		return delivery, err
	})
}
