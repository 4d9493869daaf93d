package warehouse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// Of a value-based audience nobody is wanted without a value of 0 or more, and whose value has moved too far does not agree.
func TestSyncRowsOfAValueBasedAudience(t *testing.T) {
	store := open(t)
	member := func(row audience.SyncRow, held audience.Delivery) syncCase {
		return syncCase{member: true, consents: granted, profile: []audience.Identifier{email}, held: held, row: row}
	}
	worth := func(value float64) audience.SyncRow {
		return audience.SyncRow{Wanted: []audience.Identifier{email}, Value: value}
	}
	sent := func(value float64, identifier audience.Identifier) audience.Delivery {
		return audience.Delivery{State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{identifier}, Value: value, Run: "r", Time: noon}
	}
	moved := func(c syncCase) syncCase {
		c.row.Moved = true
		return c
	}
	asBefore := func(c syncCase) syncCase {
		c.passedOver = true
		return c
	}
	sharing := sent(1, email)
	sharing.State, sharing.Reason = audience.DeliverySending, audience.ReasonSharing
	valueless := audience.SyncRow{Suppressed: "no_value"}
	cases := []syncCase{
		member(worth(7.5), audience.Delivery{}),
		member(worth(0), audience.Delivery{}),
		asBefore(member(worth(100), sent(100, email))),
		asBefore(member(worth(110), sent(100, email))), // moved by the tolerance, not by more
		moved(member(worth(110.5), sent(100, email))),
		moved(member(worth(89), sent(100, email))),
		asBefore(member(worth(0), sent(0, email))),
		moved(member(worth(0.01), sent(0, email))),
		member(worth(500), sent(100, other)), // a change: the old row goes
		moved(member(worth(2), sharing)),
		member(valueless, sent(100, email)), // not a number
		member(valueless, audience.Delivery{}),
		member(valueless, sent(1, email)), // negative
		member(valueless, sent(1, email)), // infinite
		member(valueless, sent(1, email)), // no row at all
		{held: sent(3, email)},            // left
	}
	values := []string{"7.5", "-0", "100", "110", "110.5", "89", "0", "0.01", "500", "2", "nan", "nan", "-1", "inf"}
	want := putSyncCases(t, store, cases)
	valued := scope
	valued.Values = audience.Values{Tolerance: 0.1, Query: audience.Query{
		SQL: `SELECT user_id, toFloat64(value) + 0 AS value
			FROM (SELECT char(97 + number) AS user_id, {p0:Array(String)}[number + 1] AS value FROM numbers(length({p0:Array(String)}))) WHERE ` + audience.UsersOfValues,
		Params: map[string]any{"p0": values}}}

	for _, chunk := range []int{5, 100} {
		got, err := all(store.syncRows(t.Context(), valued, audience.SyncRange{}, chunk))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got))
		totals, err := store.syncTotals(t.Context(), valued, chunk)
		require.NoError(t, err)
		require.Equal(t, audience.SyncTotals{Members: 15, Held: 13, Unchanged: 3}, totals)
	}
	some, err := all(store.SyncRows(t.Context(), valued, audience.SyncRange{Users: []audience.UserID{"c", "e", "k"}, Agreed: true}))
	require.NoError(t, err)
	require.Len(t, some, 3)
	require.InDelta(t, 100, some[0].Value, 0)
	require.False(t, some[0].Moved)
	require.True(t, some[1].Moved)
	require.Equal(t, "no_value", some[2].Suppressed)
	require.InDelta(t, 100, some[2].Held.Value, 0)
}

// Doubts about a request leave the value in the ledger: of who is held it is known, however the request ended.
func TestDoubtsLeaveValues(t *testing.T) {
	store, ctx := open(t), t.Context()
	row := func(user audience.UserID, value float64) audience.Delivery {
		return audience.Delivery{User: user, State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{email}, Value: value, Time: noon, Version: 1000}
	}
	require.NoError(t, store.RecordDeliveries(ctx, 4, []audience.Delivery{row("in doubt", 2.5), row("shares", 7)}))
	require.NoError(t, store.RecordDoubts(ctx, 4, []audience.Delivery{{User: "in doubt", Identifiers: []audience.Identifier{email}, Time: noon}}))
	require.NoError(t, store.SettleDoubts(ctx, 4, 2000))
	values := map[audience.UserID]float64{}
	for row, err := range store.Deliveries(ctx, 4) {
		require.NoError(t, err)
		require.Equal(t, audience.DeliverySending, row.State)
		values[row.User] = row.Value
	}
	require.Equal(t, map[audience.UserID]float64{"in doubt": 2.5, "shares": 7}, values)
}
