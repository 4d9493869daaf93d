package warehouse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

var (
	noon  = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	email = audience.Identifier{Scheme: "meta:EMAIL", Value: "\x00one\xff"}
	other = audience.Identifier{Scheme: "meta:EMAIL", Value: "two"}
	phone = audience.Identifier{Scheme: "meta:PHONE", Value: "three"}
	alien = audience.Identifier{Scheme: "tiktok:EMAIL", Value: "four"}
	scope = audience.SyncScope{Audience: 4, Segment: 7, Purpose: "advertising", Destination: "meta-main", Schemes: []audience.Scheme{"meta:EMAIL", "meta:PHONE"}}
)

// syncCase is one user in one state of target and ledger.
type syncCase struct {
	name       string
	member     bool
	consents   []audience.Consent // without user
	profile    []audience.Identifier
	stops      []audience.Stop // without user
	held       audience.Delivery
	row        audience.SyncRow // without user; Held is held
	passedOver bool
}

var granted = []audience.Consent{{Purpose: "advertising", Granted: true, Time: noon}}

func TestSyncRowsInEveryState(t *testing.T) {
	held := func(state audience.DeliveryState, identifiers ...audience.Identifier) audience.Delivery {
		return audience.Delivery{State: state, Identifiers: identifiers, Run: "r", Time: noon}
	}
	wants := func(identifiers ...audience.Identifier) audience.SyncRow {
		return audience.SyncRow{Wanted: identifiers}
	}
	word := func(destination audience.DestinationID, yes bool, hour int) audience.Consent {
		return audience.Consent{Purpose: "advertising", Destination: destination, Granted: yes, Time: noon.Add(time.Duration(hour) * time.Hour)}
	}
	set := func(back audience.Delivery) audience.Delivery {
		back.Reason = audience.ReasonSharing
		return back
	}
	cases := []syncCase{
		{name: "new member", member: true, consents: granted, profile: []audience.Identifier{email, alien}, row: wants(email)},
		{name: "no profile", member: true, consents: granted, row: audience.SyncRow{Suppressed: "unidentifiable"}},
		{name: "only foreign schemes", member: true, consents: granted, profile: []audience.Identifier{alien}, row: audience.SyncRow{Suppressed: "unidentifiable"}},
		{name: "no consent", member: true, profile: []audience.Identifier{email}, row: audience.SyncRow{Suppressed: "no_consent"}},
		{name: "consent for another purpose", member: true, profile: []audience.Identifier{email},
			consents: []audience.Consent{{Purpose: "analytics", Granted: true, Time: noon}}, row: audience.SyncRow{Suppressed: "no_consent"}},
		{name: "consent at another destination", member: true, profile: []audience.Identifier{email},
			consents: []audience.Consent{word("tiktok-main", true, 0)}, row: audience.SyncRow{Suppressed: "no_consent"}},
		{name: "the destination's refusal outranks a later general consent", member: true, profile: []audience.Identifier{email},
			consents: []audience.Consent{word("meta-main", false, 0), word("", true, 5)}, row: audience.SyncRow{Suppressed: "no_consent"}},
		{name: "the destination's consent outranks a later general refusal", member: true, profile: []audience.Identifier{email},
			consents: []audience.Consent{word("meta-main", true, 0), word("", false, 5)}, row: wants(email)},
		{name: "the latest word stands though it came first", member: true, profile: []audience.Identifier{email},
			consents: []audience.Consent{word("", false, 2), word("", true, 1)}, row: audience.SyncRow{Suppressed: "no_consent"}},
		{name: "consent withdrawn while held", member: true, profile: []audience.Identifier{email}, consents: []audience.Consent{word("", false, 1)},
			held: held(audience.DeliveryDelivered, email), row: audience.SyncRow{Suppressed: "no_consent", Stop: true}},
		{name: "delivered as wanted", member: true, consents: granted, profile: []audience.Identifier{email, phone},
			held: held(audience.DeliveryDelivered, phone, email), passedOver: true},
		{name: "delivered with an old identifier", member: true, consents: granted, profile: []audience.Identifier{other},
			held: held(audience.DeliveryDelivered, email), row: wants(other)},
		{name: "left while delivered", profile: []audience.Identifier{email}, consents: granted, held: held(audience.DeliveryDelivered, email)},
		{name: "sending was never confirmed", member: true, consents: granted, profile: []audience.Identifier{email},
			held: held(audience.DeliverySending, email), row: wants(email)},
		{name: "left while sending", held: held(audience.DeliverySending, email)},
		{name: "removing was never confirmed", held: held(audience.DeliveryRemoving, email)},
		{name: "came back while removing", member: true, consents: granted, profile: []audience.Identifier{email},
			held: held(audience.DeliveryRemoving, email), row: wants(email)},
		{name: "removed and gone", held: held(audience.DeliveryRemoved, email), passedOver: true},
		{name: "removed and back", member: true, consents: granted, profile: []audience.Identifier{email},
			held: held(audience.DeliveryRemoved, email), row: wants(email)},
		{name: "rejected, nothing new", member: true, consents: granted, profile: []audience.Identifier{email},
			held: held(audience.DeliveryRejected, email), passedOver: true},
		{name: "rejected, new identifier", member: true, consents: granted, profile: []audience.Identifier{other},
			held: held(audience.DeliveryRejected, email), row: wants(other)},
		{name: "rejected and gone", held: held(audience.DeliveryRejected, email), passedOver: true},
		{name: "stopped member", member: true, consents: granted, profile: []audience.Identifier{email}, stops: []audience.Stop{{Reason: "crm"}},
			held: held(audience.DeliveryDelivered, email), row: audience.SyncRow{Suppressed: "crm", Stop: true}},
		{name: "stopped before he was sent", member: true, consents: granted, profile: []audience.Identifier{email},
			stops: []audience.Stop{{Audience: 4, Reason: "purchase", Until: time.Now().Add(time.Hour)}}, row: audience.SyncRow{Suppressed: "purchase"}},
		{name: "stopped and left", consents: granted, stops: []audience.Stop{{Reason: "erased"}},
			held: held(audience.DeliverySending, email), row: audience.SyncRow{Stop: true}},
		{name: "consent withdrawn and left", consents: []audience.Consent{word("", false, 1)},
			held: held(audience.DeliveryRemoving, email), row: audience.SyncRow{Stop: true}},
		{name: "stop lifted", member: true, consents: granted, profile: []audience.Identifier{email},
			stops: []audience.Stop{{Reason: "crm"}, {}}, held: held(audience.DeliveryDelivered, email), passedOver: true},
		{name: "stop ended", member: true, consents: granted, profile: []audience.Identifier{email},
			stops: []audience.Stop{{Reason: "crm", Until: time.Now().Add(-time.Hour)}}, held: held(audience.DeliveryDelivered, email), passedOver: true},
		{name: "stopped in another audience", member: true, consents: granted, profile: []audience.Identifier{email},
			stops: []audience.Stop{{Audience: 5, Reason: "crm"}}, held: held(audience.DeliveryDelivered, email), passedOver: true},
		{name: "neither member nor held", profile: []audience.Identifier{email}, consents: granted, passedOver: true},
		{name: "removed along with another", member: true, consents: granted, profile: []audience.Identifier{email},
			held: set(held(audience.DeliverySending, email)), row: wants(email)},
	}
	store := open(t)
	want := putSyncCases(t, store, cases)

	got, err := all(store.SyncRows(t.Context(), scope, audience.SyncRange{}))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))

	totals, err := store.SyncTotals(t.Context(), scope)
	require.NoError(t, err)
	require.Equal(t, audience.SyncTotals{Members: 23, Held: 15, Unchanged: 4, Rejected: 1}, totals)

	for _, chunk := range []int{1, 2, 3, 7, 29, 30} {
		for _, page := range []int{0, 1, 4, 100} {
			got, err := all(store.syncRows(t.Context(), scope, audience.SyncRange{Page: page}, chunk))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got), "in chunks of %d, pages of %d", chunk, page)
		}
		inChunks, err := store.syncTotals(t.Context(), scope, chunk)
		require.NoError(t, err)
		require.Equal(t, totals, inChunks)
	}

	for name, within := range map[string]audience.SyncRange{
		"after": {After: "h"}, "users": {Users: []audience.UserID{"a", "j", "k", "nobody"}}, "urgent": {Urgent: true}, "held": {Held: true}, "urgent of users": {Users: []audience.UserID{"j", "k", "~"}, Urgent: true},
	} {
		var part []audience.SyncRow
		for _, row := range want {
			urgent := row.Stop || strings.HasPrefix(row.Held.Reason, audience.ReasonSharing)
			if row.User > within.After && (within.Users == nil || slices.Contains(within.Users, row.User)) && (urgent || !within.Urgent) && (row.Held.State.MayHold() || !within.Held) {
				part = append(part, row)
			}
		}
		require.NotEmpty(t, part)
		got, err := all(store.SyncRows(t.Context(), scope, within))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(part, got), name)
	}

	got, err = all(store.SyncRows(t.Context(), scope, audience.SyncRange{Agreed: true}))
	require.NoError(t, err)
	agreed := slices.DeleteFunc(got, func(row audience.SyncRow) bool {
		return slices.ContainsFunc(want, func(w audience.SyncRow) bool { return w.User == row.User })
	})
	require.Len(t, agreed, 5, "four held as wanted, one refused as wanted")
	for _, row := range agreed {
		require.NotEmpty(t, row.Wanted)
		require.Len(t, row.Held.Identifiers, len(row.Wanted))
	}
}

// Stops and moves end by the clock of the service, which may live in the past.
func TestStopsEndByTheServicesClock(t *testing.T) {
	store := open(t)
	then := scope
	then.At = noon
	require.NoError(t, store.RecordDeliveries(t.Context(), scope.Audience, []audience.Delivery{
		{User: "stopped", State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{email}, Time: noon},
		{User: "moved", State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{email}, Time: noon},
	}))
	stops := func(at time.Time) (of []bool) {
		then.At = at
		for row, err := range store.SyncRows(t.Context(), then, audience.SyncRange{}) {
			require.NoError(t, err)
			of = append(of, row.Stop)
		}
		return of
	}
	until := noon.Add(time.Hour)
	require.NoError(t, store.RecordStops(t.Context(), []audience.Stop{{User: "stopped", Reason: "crm", Until: until}}))
	_, err := store.WriteMove(t.Context(), audience.Move{User: "moved", OutOf: []audience.SegmentID{"vip"}, Expires: until, RequestID: "1"},
		map[audience.SegmentID]audience.Number{"vip": scope.Segment}, noon)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, stops(noon))
	require.Equal(t, []bool{false, false}, stops(until))
}

// Whom another audience of the group may hold is not wanted here, unless he is held here, too.
func TestSyncRowsOfAnExclusiveGroup(t *testing.T) {
	store := open(t)
	rivals := scope
	rivals.Rivals = []audience.Number{5, 6}
	member := syncCase{member: true, consents: granted, profile: []audience.Identifier{email}}
	held := member
	held.held = audience.Delivery{State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{other}, Time: noon}
	member.row, held.row = audience.SyncRow{Wanted: []audience.Identifier{email}}, audience.SyncRow{Wanted: []audience.Identifier{email}}
	want := putSyncCases(t, store, []syncCase{member, member, member, held}) // a to d
	require.NoError(t, store.RecordDeliveries(t.Context(), 5, []audience.Delivery{
		{User: "a", State: audience.DeliveryRemoving}, {User: "b", State: audience.DeliveryRemoved}, {User: "c", State: audience.DeliveryRejected}, {User: "d", State: audience.DeliveryDelivered}}))
	want[0].Wanted, want[0].Suppressed = nil, "held_elsewhere"

	got, err := all(store.SyncRows(t.Context(), rivals, audience.SyncRange{}))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
	users, err := store.HeldBy(t.Context(), rivals.Rivals, []audience.UserID{"a", "b", "c", "d", "e"})
	require.NoError(t, err)
	require.ElementsMatch(t, []audience.UserID{"a", "d"}, users)
}

func TestSharers(t *testing.T) {
	store := open(t)
	row := func(user audience.UserID, state audience.DeliveryState, identifiers ...audience.Identifier) audience.Delivery {
		return audience.Delivery{User: user, State: state, Identifiers: identifiers, Time: noon}
	}
	require.NoError(t, store.RecordDeliveries(t.Context(), 4, []audience.Delivery{row("moved", audience.DeliveryDelivered, phone)}))
	shares, both := row("shares", audience.DeliveryDelivered, email, phone), row("shares both", audience.DeliveryDelivered, phone, other)
	require.NoError(t, store.RecordDeliveries(t.Context(), 4, []audience.Delivery{
		row("moved", audience.DeliveryDelivered, email), shares, both, row("gone", audience.DeliveryRemoved, phone),
		row("same value, other scheme", audience.DeliveryDelivered, audience.Identifier{Scheme: "meta:EMAIL", Value: phone.Value})}))
	require.NoError(t, store.RecordDeliveries(t.Context(), 5, []audience.Delivery{row("of another audience", audience.DeliveryDelivered, phone)}))
	got, err := all(store.Sharers(t.Context(), 4, []audience.Identifier{phone, other}))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]audience.Delivery{shares, both}, got, cmp.Transformer("order", func(ids []audience.Identifier) []audience.Identifier { return inOrder(ids) })))
}

// putSyncCases stores the cases, each as a user of its own, and gives the rows they must become, by user.
func putSyncCases(t *testing.T, store *Store, cases []syncCase) (want []audience.SyncRow) {
	t.Helper()
	ctx := t.Context()
	var (
		changes  []audience.Change
		consents []audience.Consent
		updates  []audience.ProfileUpdate
		intents  []audience.Delivery
		ledger   []audience.Delivery
		stops    []audience.Stop
	)
	for i, c := range cases {
		user := audience.UserID(rune('a' + i))
		if c.member {
			changes = append(changes, audience.Change{Membership: audience.Membership{User: user, Segments: []audience.Number{3, 7}, Version: 1}, Time: noon})
		}
		for _, consent := range c.consents {
			consent.User = user
			consents = append(consents, consent)
		}
		if c.profile != nil {
			updates = append(updates, audience.ProfileUpdate{User: user, Identifiers: c.profile})
		}
		for _, stop := range c.stops {
			stop.User = user
			stops = append(stops, stop)
		}
		if c.held.State != "" {
			c.held.User = user
			intents = append(intents, audience.Delivery{User: user, State: audience.DeliverySending, Identifiers: []audience.Identifier{alien}})
			ledger = append(ledger, c.held)
		}
		if !c.passedOver {
			c.row.User, c.row.Held = user, c.held
			want = append(want, c.row)
		}
	}
	require.NoError(t, store.AppendChanges(ctx, changes))
	require.NoError(t, store.SetConsents(ctx, consents))
	require.NoError(t, store.UpsertProfiles(ctx, updates))
	for _, stop := range stops { // in order: a later one supersedes
		require.NoError(t, store.RecordStops(ctx, []audience.Stop{stop}))
	}
	require.NoError(t, store.RecordDeliveries(ctx, scope.Audience, intents)) // superseded by what follows
	require.NoError(t, store.RecordDeliveries(ctx, scope.Audience, ledger))
	require.NoError(t, store.RecordDeliveries(ctx, scope.Audience+1, intents)) // of another audience, newer
	return want
}
