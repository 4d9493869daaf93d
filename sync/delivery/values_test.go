package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// worth is a world of a value-based audience with so many members, each of whom shares a phone with the next or the one before.
func worth(members int) *world {
	w := newWorld()
	w.audience.Value, w.platform.together = "worth", true
	w.want(members, "a")
	for i := range members {
		w.wanted[nth(i)] = append(w.wanted[nth(i)], audience.Identifier{Scheme: phones, Value: strconv.Itoa(i / 2)})
		w.values[nth(i)] = 100 + float64(i)
	}
	return w
}

// A value that has moved is sent again without a removal, one that has hardly moved is not, and who has none any more leaves.
func TestMovedValuesAreSentAgain(t *testing.T) {
	for name, tolerance := range map[string]float64{"by default": 0, "a third": 1. / 3} {
		t.Run(name, func(t *testing.T) {
			w := worth(20)
			w.audience.ValueTolerance = tolerance
			report, err := w.sync("first")
			require.NoError(t, err)
			require.Equal(t, delivery.Outcome{Planned: 20, Confirmed: 20}, report.Additions)

			w.values[nth(3)] *= 1.04
			w.values[nth(4)] *= 1.2
			w.values[nth(5)] *= 1.5
			delete(w.values, nth(19))
			w.platform.requests = nil
			report, err = w.sync("moved")
			require.NoError(t, err)
			revalued := map[string]int64{"by default": 2, "a third": 1}[name]
			require.Equal(t, revalued, report.Plan.Revalued)
			require.Equal(t, []int64{20, 19 - revalued, 1}, []int64{report.Plan.Members, report.Plan.Unchanged, report.Plan.Suppressed["no_value"]})
			require.Equal(t, delivery.Outcome{Planned: revalued, Confirmed: revalued}, report.Revalued)
			require.Equal(t, delivery.Outcome{Planned: 1, Confirmed: 1}, report.Removals)
			require.Equal(t, delivery.Outcome{Planned: 1, Confirmed: 1}, report.Restored, "who shares a phone with the one who left")
			require.Equal(t, revalued, report.Counts()["revalued.confirmed"])
			require.Equal(t, []audience.UserID{nth(19)}, whom(w.platform.requests[0]), "nobody else is removed")
			require.InDelta(t, w.values[nth(5)], w.ledger[nth(5)].Value, 0)
			require.InDelta(t, 103, w.ledger[nth(3)].Value, 0)

			w.platform.requests = nil
			report, err = w.sync("nothing")
			require.NoError(t, err)
			require.Zero(t, report.Plan.Steps())
			require.Empty(t, w.platform.requests)
			require.Empty(t, w.platform.violated)
		})
	}
}

// If the platform refuses the new value of a member, he is held with the old one, and the next sync tries again.
func TestARefusedValueLeavesTheOldOne(t *testing.T) {
	w := worth(20)
	_, err := w.sync("first")
	require.NoError(t, err)
	w.values[nth(4)], w.values[nth(5)] = 1e12, 7
	w.platform.fails = func(b destination.Batch) error {
		if slices.ContainsFunc(b.Rows, func(row destination.Row) bool { return row.Value > 1e6 }) {
			return &destination.Error{Kind: destination.Rejected, Err: errors.New("the value is too large")}
		}
		return nil
	}
	for _, run := range []audience.RunID{"refused", "again"} {
		w.values[nth(5)] += 7
		report, err := w.sync(run)
		require.NoError(t, err)
		require.Equal(t, delivery.Outcome{Planned: 2, Confirmed: 1, Rejected: 1}, report.Revalued)
		require.Equal(t, []string{"1 users rejected: rejected: the value is too large"}, report.Notes())
		row := w.ledger[nth(4)]
		require.Equal(t, audience.DeliveryDelivered, row.State)
		require.InDelta(t, 104, row.Value, 0)
		require.InDelta(t, 104, w.platform.values[rowKey(row.Identifiers)], 0)
		require.InDelta(t, w.values[nth(5)], w.ledger[nth(5)].Value, 0)
	}
	delete(w.wanted, nth(4))
	_, err = w.sync("left")
	require.NoError(t, err)
	require.Len(t, w.platform.held, 19)
	require.Empty(t, w.platform.violated)
}

// A stop outside of syncs takes somebody along, who comes back with his value as of then; an expression that fails keeps the
// coming back, and not the stop.
func TestAStopRestoresValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worth(4)
		_, err := w.sync("first")
		require.NoError(t, err)
		w.values[nth(1)] = 500
		var broken atomic.Bool
		broken.Store(true)
		d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler),
			Connect: func(audience.Destination) (destination.Destination, error) { return connection{w.platform, w}, nil },
			Values: func(ctx context.Context, expression string) (audience.Query, error) {
				if broken.Load() {
					return audience.Query{}, audience.Invalid("value", "there is no enabled segment")
				}
				return w.compile(ctx, expression)
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		require.NoError(t, d.Stop(t.Context(), stop(nth(0))))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, audience.DeliveryRemoved, w.ledger[nth(0)].State)
		require.Equal(t, audience.DeliverySending, w.ledger[nth(1)].State)
		require.Len(t, w.platform.held, 2)
		_, err = d.Plan(t.Context(), "vip")
		require.ErrorIs(t, err, audience.ErrInvalid)

		broken.Store(false)
		time.Sleep(10 * time.Minute)
		cancel()
		require.NoError(t, <-ended)
		require.Empty(t, w.platform.violated)
		w.requireLaw(t)
		require.InDelta(t, 500, w.ledger[nth(1)].Value, 0)
	})
}

// requireValues compares what the stand-in holds of everybody with target and ledger.
func (v *vendor) requireValues(t *testing.T) {
	t.Helper()
	v.requireTarget(t, nil)
	held := map[string]string{}
	for _, row := range v.sandbox.Meta().Members(v.world.audience.PlatformID) {
		held[strings.Join(slices.Sorted(maps.Values(row.Keys)), " ")] = row.LookalikeValue
	}
	for u, ids := range v.world.target() {
		var keys []string
		for _, id := range ids {
			keys = append(keys, hexOf(id))
		}
		slices.Sort(keys)
		sent := v.world.ledger[u].Value
		require.Equal(t, strconv.FormatFloat(sent, 'f', -1, 64), held[strings.Join(keys, " ")], u)
		require.False(t, moved(sent, v.world.values[u], audience.DefaultValueTolerance))
	}
}

// TestValuesAtMeta takes a value-based audience through syncs of every kind against the stand-in, a replacement among them.
func TestValuesAtMeta(t *testing.T) {
	v, _ := timed(t, audience.PlatformMeta)
	w := v.world
	w.audience.Value = "worth"
	for i := range 1500 {
		v.set(t, i, "a")
		w.values[userOf(i)] = float64(i) / 8
	}
	delete(w.values, userOf(1))

	require.NoError(t, v.sandbox.Meta().SetValueTerms(sandbox.DemoMetaAccount, false))
	_, err := v.syncBy(t, destination.ByDiff, "no terms")
	var failure *destination.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, destination.OfAudience, failure.Scope)
	require.ErrorContains(t, err, "must accept Meta's terms of value-based Custom Audiences")
	require.NoError(t, v.sandbox.Meta().SetValueTerms(sandbox.DemoMetaAccount, true))

	report, err := v.syncBy(t, destination.ByDiff, "first")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 1499, Confirmed: 1499}, report.Additions)
	v.requireValues(t)

	for _, way := range []destination.Way{destination.ByDiff, destination.ByReplace} {
		v.others(t)
		for i := range 200 {
			w.values[userOf(1200+i)] += 1000
			w.values[userOf(1500+i)] = 3
			w.values[userOf(1400+i)] *= 1.01
			delete(w.values, userOf(310+i%10))
		}
		require.NoError(t, v.sandbox.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Path: v.change, Count: 1}))
		report, err = v.syncBy(t, way, audience.RunID(way))
		require.NoError(t, err)
		require.Equal(t, string(way), report.Plan.Way)
		requireSums(t, report, true)
		require.Positive(t, report.Revalued.Confirmed)
		v.requireValues(t)
		v.sandbox.ClearFaults()
	}
	clear(w.wanted)
	_, err = v.syncBy(t, destination.ByDiff, "emptied")
	require.NoError(t, err)
	require.Empty(t, v.members(w.audience.PlatformID))
}
