package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestStoredIsAllThereIs: a row in any table with rows of users shows, whatever tables there are.
func TestStoredIsAllThereIs(t *testing.T) {
	s := open(t)
	known(t, s, "ann", 1)
	known(t, s, "bob", 2)
	ctx := t.Context()
	_, err := s.WriteEvents(ctx, []audience.Event{{User: "ann", ID: "1", Type: "visit", Time: noon, Texts: map[string]string{"page": "home"}}})
	require.NoError(t, err)
	move := audience.Move{User: "ann", Into: []audience.SegmentID{"vip"}, Reason: "sponsor", RequestID: "r"}
	_, err = s.WriteMove(ctx, move, map[audience.SegmentID]audience.Number{"vip": 7}, noon)
	require.NoError(t, err)
	tables, err := s.userTables(ctx)
	require.NoError(t, err)

	kinds := map[string]int{}
	for stored, err := range s.Stored(ctx, "ann") {
		require.NoError(t, err)
		switch {
		case stored.Profile != nil:
			kinds["profiles"]++
			require.Equal(t, []audience.Identifier{email}, stored.Profile.Identifiers)
		case stored.Consent != nil:
			kinds["consents"]++
		case stored.Event != nil:
			kinds["events"]++
			if stored.Event.ID == "1" {
				require.Equal(t, "home", stored.Event.Texts["page"])
			}
		case stored.Membership != nil:
			kinds["members"]++
		case stored.Change != nil:
			kinds["membership_changes"]++
			require.Equal(t, []audience.Number{7}, stored.Change.Left)
		case stored.Move != nil:
			kinds["moves"]++
			if stored.Move.RequestID == "r" {
				require.Equal(t, audience.StoredMove{Move: move, Time: noon}, *stored.Move)
			}
		case stored.Delivery != nil:
			kinds["deliveries"]++
		case stored.Stop != nil:
			kinds["stops"]++
		default:
			kinds[stored.Other.Table]++
			require.Equal(t, "ann", stored.Other.Columns["user_id"])
		}
	}
	for _, table := range tables {
		switch table {
		case "events_by_user", "users", "pins", "timers", "erasures": // said by the others, see exported
		default:
			require.NotZero(t, kinds[table], table)
		}
	}
	for stored, err := range s.Stored(ctx, "nobody") {
		require.NoError(t, err)
		require.Fail(t, "something is stored of nobody", "%+v", stored)
	}
}

// TestActions: the newest first, page by page, by actor and resource.
func TestActions(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	for i, a := range []audience.Action{
		{ID: "1", Actor: "ann", Call: "A.Create", Resource: "audiences/vip"},
		{ID: "2", Actor: "bob", Call: "A.Delete", Resource: "audiences/vip"},
		{ID: "3", Actor: "ann", Call: "A.Start", Resource: "audiences/new", Run: "r", RequestID: "17"},
	} {
		a.Time = noon.Add(time.Duration(i) * time.Second)
		require.NoError(t, s.RecordAction(ctx, a))
	}
	ids := func(actor, resource, before string, limit int) (ids string) {
		actions, err := s.Actions(ctx, actor, resource, before, limit)
		require.NoError(t, err)
		for _, a := range actions {
			ids += a.ID
		}
		return ids
	}
	require.Equal(t, "321", ids("", "", "", 0))
	require.Equal(t, "32", ids("", "", "", 2))
	require.Equal(t, "1", ids("", "", "2", 2))
	require.Equal(t, "31", ids("ann", "", "", 9))
	require.Equal(t, "21", ids("", "audiences/vip", "", 9))
	last, err := s.Actions(ctx, "", "", "", 1)
	require.NoError(t, err)
	require.Equal(t, []audience.Action{{ID: "3", Time: noon.Add(2 * time.Second), Actor: "ann", Call: "A.Start", Resource: "audiences/new", Run: "r", RequestID: "17"}}, last)
}
