package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// The law: whatever fails and whenever the process dies, once the platform answers again it holds exactly the target, and
// the ledger says so. On the way, nothing is sent without an intent, nobody is sent who must not be, and the ledger never
// forgets whom the platform may hold.
func TestPlatformEndsWithTheTarget(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld()
		p := w.platform
		p.rows = rapid.IntRange(1, 8).Draw(r, "rows a request")
		w.pageUsers = rapid.IntRange(1, 20).Draw(r, "users a page")
		p.together = rapid.Bool().Draw(r, "all schemes in a row")
		p.refuse = refusal(rapid.IntRange(0, int(refusals)-1).Draw(r, "refuses"))
		p.faults = rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(r, "faults")
		p.random = rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		users := rapid.IntRange(1, 25).Draw(r, "users")
		badUsers := rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(r, "bad users")
		w.way = rapid.SampledFrom([]destination.Way{destination.ByDiff, destination.ByReplace, destination.ByFile}).Draw(r, "way")
		if w.way == destination.ByFile { // files carry identifiers, not people, and nobody says which are bad
			w.audience.Static, p.together, badUsers = true, false, 0
		}
		if w.way != destination.ByFile && rapid.Bool().Draw(r, "value-based") { // only platforms that know people can be
			w.audience.Value, p.together = "worth", true
		}
		rounds := rapid.IntRange(1, 5).Draw(r, "rounds")
		inBubble(t, func() {
			for round := range rounds {
				w.mutate(users, badUsers, round)
				d := w.deliverer()
				stops := 0
				p.fails = func(destination.Batch) error { // people who withdraw while a sync is under way
					if p.random.IntN(8) == 0 {
						stops++
						_ = d.Stop(context.Background(), stop(audience.UserID(fmt.Sprintf("u%02d", p.random.IntN(users)))))
					}
					return nil
				}
				w.dieAt = p.random.IntN(120)
				if p.random.IntN(8) == 0 {
					p.vanish()
				}
				p.locked = p.random.IntN(8) == 0
				p.collapses = p.random.IntN(4) == 0
				w.forgets = p.random.IntN(8) / 7
				report, err := d.Sync(context.Background(), "vip", audience.RunID(fmt.Sprint(round)), true, progress)
				require.Empty(r, p.violated)
				var failure *destination.Error
				if errors.As(err, &failure) && failure.Kind == destination.Gone { // and a person orders a new one
					_ = w.deliverer().Recreate(context.Background(), "vip", "new")
				}
				requireSums(r, report, stops == 0) // who withdraws is not in the plan
				time.Sleep(time.Duration(p.random.IntN(3)) * time.Hour)
			}
			p.faults, p.fails, p.locked, p.collapses, w.forgets, w.dieAt = 0, nil, false, false, 0, 0
			if p.id == "" {
				require.NoError(r, w.deliverer().Recreate(context.Background(), "vip", "new"))
			}
			for left, last := 4, 0; left > 0; last++ {
				time.Sleep(filesLock)
				require.Less(r, last, 100)
				report, err := w.deliverer().Sync(context.Background(), "vip", audience.RunID(fmt.Sprint("last", last)), true, progress)
				var failure *destination.Error
				require.Empty(r, p.violated)
				requireSums(r, report, true)
				if w.way == destination.ByFile && errors.As(err, &failure) && failure.Kind == destination.Busy {
					continue // one page after the other, each a change that locks the audience
				}
				require.NoError(r, err)
				left--
			}
			w.requireLaw(r)
		})
	})
}

// TestSoakLaws draws other scenarios for as long as KOHORTA_SOAK says.
func TestSoakLaws(t *testing.T) {
	soak, err := time.ParseDuration(os.Getenv("KOHORTA_SOAK"))
	if err != nil {
		t.Skip("KOHORTA_SOAK is no time to soak for, such as 10m")
	}
	for began := time.Now(); time.Since(began) < soak; {
		t.Run("target", TestPlatformEndsWithTheTarget)
		t.Run("groups", TestNoTwoOfAGroupHoldAUser)
	}
}

func progress(string, int64, int64) {}

// inBubble runs f on fake time; rapid's panics come out on the caller's goroutine, where rapid waits for them.
func inBubble(t *testing.T, f func()) {
	var panicked any
	synctest.Test(t, func(*testing.T) {
		defer func() { panicked = recover() }()
		f()
	})
	if panicked != nil {
		panic(panicked)
	}
}

// mutate draws another target: members, consents, identifiers. The first users have a bad identifier at times.
func (w *world) mutate(users, badUsers, round int) {
	random := w.platform.random
	for i := range users {
		u := audience.UserID(fmt.Sprintf("u%02d", i))
		switch random.IntN(4) {
		case 0: // a little, or a lot
			w.values[u] *= []float64{1.01, 0.97, 1.2, 0.5}[random.IntN(4)]
		case 1:
			w.values[u] = float64(random.IntN(3))
		case 2:
			if random.IntN(3) == 0 {
				delete(w.values, u)
			}
		}
		switch random.IntN(5) {
		case 0:
			delete(w.wanted, u)
			delete(w.stopped, u)
		case 1:
			delete(w.wanted, u)
			w.stopped[u] = "no_consent"
		case 2, 3:
			delete(w.stopped, u)
			ids := []audience.Identifier{{Scheme: emails, Value: fmt.Sprintf("%s/e%d", u, round)}, {Scheme: phones, Value: fmt.Sprintf("%s/p%d", u, round/2)}}
			if random.IntN(4) == 0 {
				ids[1].Value = fmt.Sprintf("family %d", random.IntN(3)) // one phone for several
			}
			if i < badUsers {
				ids[random.IntN(2)].Value = fmt.Sprintf("bad %s/%d", u, round)
			}
			w.wanted[u] = ids[:1+random.IntN(2)]
		}
	}
}

// requireLaw compares target, ledger and platform. A user with a bad identifier is held by the good ones, if any.
func (w *world) requireLaw(t require.TestingT) {
	want := map[string][]audience.Identifier{}
	target := w.target()
	for u, ids := range target {
		row := w.ledger[u]
		good := slices.DeleteFunc(slices.Clone(ids), func(id audience.Identifier) bool { return strings.HasPrefix(id.Value, "bad") })
		switch {
		case !w.platform.together:
			for _, id := range good {
				want[rowKey([]audience.Identifier{id})] = []audience.Identifier{id}
			}
		case len(good) == len(ids):
			want[rowKey(ids)] = ids
		default:
			good = nil
		}
		require.Equal(t, ids, row.Identifiers, u)
		switch {
		case len(good) > 0:
			require.Equal(t, audience.DeliveryDelivered, row.State, u)
			w.requireValue(t, u, ids)
		default:
			require.Equal(t, audience.DeliveryRejected, row.State, u)
			require.NotEmpty(t, row.Reason)
		}
	}
	require.Equal(t, want, w.platform.held)
	for u, row := range w.ledger {
		if _, wanted := target[u]; wanted {
			continue
		}
		require.False(t, row.State.MayHold(), u)
	}
}

// requireValue compares the value of a user with those of ledger and platform: they are one, and near the value now.
func (w *world) requireValue(t require.TestingT, u audience.UserID, ids []audience.Identifier) {
	if w.audience.Value == "" {
		require.Zero(t, w.ledger[u].Value)
		return
	}
	require.InDelta(t, w.ledger[u].Value, w.platform.values[rowKey(ids)], 0, u)
	require.False(t, moved(w.ledger[u].Value, w.values[u], audience.DefaultValueTolerance), "%s: %g is held, and worth %g", u, w.ledger[u].Value, w.values[u])
}

// requireSums holds that every user of a report has one fate and they add up, and if asked, that they add up to its plan.
func requireSums(t require.TestingT, r delivery.Report, asPlanned bool) {
	rejected := int64(0)
	for _, pair := range []struct {
		outcome delivery.Outcome
		planned int64
	}{{r.Additions, r.Plan.Additions}, {r.Removals, r.Plan.Removals}, {r.Changes, r.Plan.Changes}, {r.Revalued, r.Plan.Revalued}, {r.Restored, r.Restored.Planned}} {
		o := pair.outcome
		require.Equal(t, o.Planned, o.Confirmed+o.Rejected+o.Unknown+o.NotTried)
		for _, n := range []int64{o.Confirmed, o.Rejected, o.Unknown, o.NotTried} {
			require.GreaterOrEqual(t, n, int64(0))
		}
		if asPlanned {
			require.Equal(t, pair.planned, o.Planned, "%+v", r)
		}
		rejected += o.Rejected
	}
	for n := range maps.Values(r.Rejected) {
		rejected -= n
	}
	require.Zero(t, rejected)
}
