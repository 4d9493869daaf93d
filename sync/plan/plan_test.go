package plan

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

var (
	before = []audience.Identifier{{Scheme: "meta:EMAIL", Value: "before"}}
	now    = []audience.Identifier{{Scheme: "meta:EMAIL", Value: "now"}}
)

func TestStepOfEveryState(t *testing.T) {
	type steps struct{ unwanted, same, moved, different Step }
	for state, want := range map[audience.DeliveryState]steps{
		"":                         {Keep, Add, Add, Add},
		audience.DeliveryRemoved:   {Keep, Add, Add, Add},
		audience.DeliveryRejected:  {Keep, Keep, Keep, Add},
		audience.DeliveryDelivered: {Remove, Keep, Revalue, Change},
		audience.DeliverySending:   {Remove, Add, Add, Change},
		audience.DeliveryRemoving:  {Remove, Add, Add, Change},
	} {
		t.Run("state "+string(state), func(t *testing.T) {
			held := audience.Delivery{State: state}
			if state != "" {
				held.Identifiers = before
			}
			require.Equal(t, want.unwanted, Of(audience.SyncRow{Held: held}))
			require.Equal(t, want.unwanted, Of(audience.SyncRow{Held: held, Suppressed: "no_consent"}))
			require.Equal(t, want.same, Of(audience.SyncRow{Held: held, Wanted: before}))
			require.Equal(t, want.moved, Of(audience.SyncRow{Held: held, Wanted: before, Moved: true}))
			require.Equal(t, want.different, Of(audience.SyncRow{Held: held, Wanted: now}))
		})
	}
}

// Doing the step makes the next step Keep.
func TestStepSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := drawRow(t)
		switch Of(row) {
		case Add, Change, Revalue:
			row.Held, row.Moved = audience.Delivery{State: audience.DeliveryDelivered, Identifiers: row.Wanted}, false
		case Remove:
			row.Held.State = audience.DeliveryRemoved
		case Keep:
		}
		require.Equal(t, Keep, Of(row))
	})
}

func drawRow(t *rapid.T) audience.SyncRow {
	identifiers := rapid.SampledFrom([][]audience.Identifier{nil, before, now})
	row := audience.SyncRow{Wanted: identifiers.Draw(t, "wanted")}
	if row.Wanted == nil {
		row.Suppressed = rapid.SampledFrom([]string{"", "no_consent", "unidentifiable"}).Draw(t, "suppressed")
	}
	row.Held.State = rapid.SampledFrom([]audience.DeliveryState{"", audience.DeliverySending, audience.DeliveryDelivered,
		audience.DeliveryRemoving, audience.DeliveryRemoved, audience.DeliveryRejected}).Draw(t, "state")
	if row.Held.State != "" {
		row.Held.Identifiers = rapid.SampledFrom([][]audience.Identifier{before, now}).Draw(t, "held")
	}
	if row.Wanted != nil && slices.Equal(row.Wanted, row.Held.Identifiers) {
		row.Moved = rapid.Bool().Draw(t, "moved")
	}
	return row
}

func TestMembersAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tally Tally
		var totals audience.SyncTotals
		for _, row := range rapid.SliceOf(rapid.Custom(drawRow)).Draw(t, "rows") {
			member := len(row.Wanted) > 0 || row.Suppressed != ""
			if member {
				totals.Members++
			}
			if row.Held.State.MayHold() {
				totals.Held++
			}
			switch {
			case tally.Count(row) != Keep || row.Suppressed != "" || !member:
			case row.Held.State == audience.DeliveryDelivered:
				totals.Unchanged++
			default:
				totals.Rejected++
			}
		}
		p := tally.Plan(totals, Evidence{})
		require.Equal(t, totals.Members, p.Members)
		require.LessOrEqual(t, p.Resends, p.Steps())
	})
}

func TestHold(t *testing.T) {
	leaving := audience.SyncRow{Held: audience.Delivery{State: audience.DeliveryDelivered, Identifiers: before}}
	begun := audience.SyncRow{Held: audience.Delivery{State: audience.DeliveryRemoving, Identifiers: before}}
	for name, test := range map[string]struct {
		row       audience.SyncRow
		removals  int
		unchanged int64
		share     float64
		hold      []string
	}{
		"nothing held":                   {row: leaving},
		"share just allowed":             {row: leaving, removals: 30, unchanged: 70},
		"share exceeded":                 {row: leaving, removals: 31, unchanged: 69, hold: []string{"it would remove 31 of 100 users (31 %), more than the 30 % the audience allows"}},
		"a share of its own":             {row: leaving, removals: 31, unchanged: 69, share: 0.5},
		"few removals of a small one":    {row: leaving, removals: 10, unchanged: 1},
		"just not few":                   {row: leaving, removals: 11, unchanged: 1, hold: []string{"it would remove 11 of 12 users (92 %), more than the 30 % the audience allows"}},
		"empty source":                   {row: leaving, removals: 1, hold: []string{"the segment is empty while the platform may hold 1 users"}},
		"empty source, share allows all": {row: leaving, removals: 20, share: 1, hold: []string{"the segment is empty while the platform may hold 20 users"}},
		"removals begun before":          {row: begun, removals: 50},
	} {
		t.Run(name, func(t *testing.T) {
			var tally Tally
			for range test.removals {
				require.Equal(t, Remove, tally.Count(test.row))
			}
			held := int64(test.removals) + test.unchanged
			p := tally.Plan(audience.SyncTotals{Members: test.unchanged, Held: held, Unchanged: test.unchanged}, Evidence{MaxRemovalShare: test.share})
			require.Equal(t, test.hold, p.Hold)
		})
	}
}
