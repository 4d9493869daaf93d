package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestDoubtsAreSettled: whatever a late request did, the next sync can undo or repeat it by what the ledger says then.
func TestDoubtsAreSettled(t *testing.T) {
	store, ctx := open(t), t.Context()
	third := audience.Identifier{Scheme: "meta:PHONE", Value: "3333"}
	row := func(user audience.UserID, state audience.DeliveryState, ids ...audience.Identifier) audience.Delivery {
		return audience.Delivery{User: user, State: state, Identifiers: ids, Run: "new", Time: noon, Version: 1000}
	}
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{
		row("removed meanwhile", audience.DeliveryRemoved, email),
		row("has other identifiers by now", audience.DeliveryDelivered, phone),
		row("shares one", audience.DeliveryDelivered, email, third),
		row("not concerned", audience.DeliveryDelivered, third),
	}))
	require.NoError(t, store.RecordDeliveries(ctx, 5, []audience.Delivery{row("shares one", audience.DeliveryDelivered, email)}))
	late := func(user audience.UserID, ids ...audience.Identifier) audience.Delivery {
		return audience.Delivery{User: user, Identifiers: ids, Run: "old", Time: noon.Add(-time.Hour)}
	}
	require.NoError(t, store.RecordDoubts(ctx, 4, []audience.Delivery{late("removed meanwhile", email), late("not in the ledger", other)}))
	require.NoError(t, store.RecordDoubts(ctx, 4, []audience.Delivery{late("has other identifiers by now", email)}))

	requireLedger := func(number audience.Number, want map[audience.UserID][]audience.Identifier) {
		t.Helper()
		got := map[audience.UserID][]audience.Identifier{}
		for row, err := range store.Deliveries(ctx, number) {
			require.NoError(t, err)
			if row.State == audience.DeliverySending {
				got[row.User] = row.Identifiers
			}
		}
		require.Equal(t, want, got)
	}
	requireLedger(4, map[audience.UserID][]audience.Identifier{}) // the ledger is the new holder's
	require.NoError(t, store.SettleDoubts(ctx, 5, 2000))
	require.NoError(t, store.SettleDoubts(ctx, 4, 2000))
	settled := map[audience.UserID][]audience.Identifier{
		"removed meanwhile": {email}, "not in the ledger": {other},
		"has other identifiers by now": inOrder([]audience.Identifier{email, phone}), "shares one": inOrder([]audience.Identifier{email, third}),
	}
	requireLedger(4, settled)
	requireLedger(5, map[audience.UserID][]audience.Identifier{})

	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{{User: "not in the ledger", State: audience.DeliveryRemoved, Time: noon, Version: 2001}}))
	delete(settled, "not in the ledger")
	require.NoError(t, store.SettleDoubts(ctx, 4, 3000))
	requireLedger(4, settled) // once is enough
}

// TestALedgerRowGoesByItsFence: what an earlier holder writes late is not seen any more.
func TestALedgerRowGoesByItsFence(t *testing.T) {
	store, ctx := open(t), t.Context()
	newer := audience.Delivery{User: "a", State: audience.DeliveryRemoved, Time: noon, Version: 2000}
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{newer}))
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{{User: "a", State: audience.DeliveryDelivered, Time: noon, Version: 1999}}))
	for row, err := range store.Deliveries(ctx, 4) {
		require.NoError(t, err)
		require.Equal(t, audience.DeliveryRemoved, row.State)
	}
}
