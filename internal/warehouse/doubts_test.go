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

// TestIntentsOfAnEarlierHolder are in doubt once their span is over, and not before.
func TestIntentsOfAnEarlierHolder(t *testing.T) {
	store, ctx := open(t), t.Context()
	row := func(user audience.UserID, state audience.DeliveryState, version uint64) audience.Delivery {
		return audience.Delivery{User: user, State: state, Identifiers: []audience.Identifier{email}, Run: "old", Time: noon, Version: version}
	}
	const fence = 2000
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{
		row("being added", audience.DeliverySending, fence-1), row("being removed", audience.DeliveryRemoving, fence-2),
		row("confirmed", audience.DeliveryRemoved, fence-3), row("of the new holder", audience.DeliverySending, fence+1),
	}))
	ledger := func() map[audience.UserID]audience.DeliveryState {
		states := map[audience.UserID]audience.DeliveryState{}
		for row, err := range store.Deliveries(ctx, 4) {
			require.NoError(t, err)
			states[row.User] = row.State
		}
		return states
	}
	require.NoError(t, store.DoubtIntents(ctx, 4, fence, time.Hour))
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{row("being added", audience.DeliveryRemoved, fence+2), row("being removed", audience.DeliveryDelivered, fence+2)}))
	require.NoError(t, store.SettleDoubts(ctx, 4, fence+3))
	require.Equal(t, audience.DeliveryRemoved, ledger()["being added"])
	doubtful, err := store.DoubtfulAudiences(ctx)
	require.NoError(t, err)
	require.Empty(t, doubtful)
	for user, want := range map[audience.UserID]bool{"being added": true, "being removed": false, "confirmed": false, "of the new holder": false} {
		late, err := store.MayBeAddedLate(ctx, 4, user)
		require.NoError(t, err)
		require.Equal(t, want, late, user)
	}

	// Of another audience, which has none.
	require.NoError(t, store.DoubtIntents(ctx, 5, fence, 0))
	// The hour is over.
	require.NoError(t, store.Exec(ctx, audience.Query{SQL: "INSERT INTO doubts SELECT * REPLACE (toDateTime(1) AS due) FROM doubts"}))
	doubtful, err = store.DoubtfulAudiences(ctx)
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]bool{4: true}, doubtful)
	require.NoError(t, store.SettleDoubts(ctx, 4, fence+4))
	require.Equal(t, map[audience.UserID]audience.DeliveryState{"being added": audience.DeliverySending, "being removed": audience.DeliverySending,
		"confirmed": audience.DeliveryRemoved, "of the new holder": audience.DeliverySending}, ledger())
	late, err := store.MayBeAddedLate(ctx, 4, "being added")
	require.NoError(t, err)
	require.False(t, late)
}
