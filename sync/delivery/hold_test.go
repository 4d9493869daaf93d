package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
)

// emptied is a world whose segment has lost all of its 40 members, all held.
func emptied(t *testing.T) *world {
	w := newWorld()
	w.held = audience.HeldPlan{}
	w.want(40, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	clear(w.wanted)
	w.platform.requests = nil
	return w
}

const why = "the segment is empty while the platform may hold 40 users"

func TestHeldPlanSendsNothingUntilApproved(t *testing.T) {
	w := emptied(t)
	report, err := w.deliverer().Sync(t.Context(), "vip", "2", false, progress)
	require.NoError(t, err)
	require.True(t, report.Held)
	require.Equal(t, []string{why}, report.Plan.Hold)
	require.Equal(t, delivery.Outcome{Planned: 40, NotTried: 40}, report.Removals)
	require.Empty(t, w.platform.requests)
	held, err := w.deliverer().HeldPlan(t.Context(), "vip")
	require.NoError(t, err)
	require.Equal(t, audience.RunID("2"), held.Run)
	require.Equal(t, report.Plan.SyncPlan, held.Plan)
	require.Equal(t, 24*time.Hour, held.Expires.Sub(held.Time))

	report, err = w.sync("3")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 40, Confirmed: 40}, report.Removals)
	w.requireLaw(t)
}

// What became of a held plan decides what its approval is good for.
func TestApprovals(t *testing.T) {
	for name, test := range map[string]struct {
		between func(t *testing.T, w *world)
		hold    []string // of the sync after; nil: it goes
	}{
		"at once":  {between: func(*testing.T, *world) {}},
		"in time":  {between: func(*testing.T, *world) { time.Sleep(23 * time.Hour) }},
		"too late": {between: func(*testing.T, *world) { time.Sleep(24 * time.Hour) }, hold: []string{why, "the plan that was approved has expired"}},
		"dropped": {hold: []string{why}, between: func(t *testing.T, w *world) {
			require.NoError(t, w.deliverer().Drop(t.Context(), "vip"))
			require.ErrorIs(t, w.deliverer().Drop(t.Context(), "vip"), audience.ErrPrecondition)
		}},
		"never held": {hold: []string{why}, between: func(_ *testing.T, w *world) { w.held = audience.HeldPlan{} }},
		"outgrown": {between: func(_ *testing.T, w *world) { w.held.Plan.Removals = 20 },
			hold: []string{why, "it would do more than the plan that was approved, which had 0 additions, 20 removals, 0 changes"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := emptied(t)
				_, err := w.deliverer().Sync(t.Context(), "vip", "2", false, progress)
				require.NoError(t, err)
				test.between(t, w)
				report, err := w.sync("3")
				require.NoError(t, err)
				require.Equal(t, test.hold != nil, report.Held)
				if report.Held {
					require.Equal(t, test.hold, report.Plan.Hold)
					require.Empty(t, w.platform.requests)
					require.Equal(t, audience.HeldWaiting, w.held.State, "to be decided anew")
				}
			})
		})
	}
}

// An approved sync that was broken off goes on without another approval.
func TestApprovalOutlivesABrokenSync(t *testing.T) {
	w := emptied(t)
	_, err := w.deliverer().Sync(t.Context(), "vip", "2", false, progress)
	require.NoError(t, err)
	d := w.deliverer()
	w.dieAt = 95
	_, err = d.Sync(t.Context(), "vip", "3", true, progress)
	require.ErrorIs(t, err, errDead)
	require.NotEmpty(t, w.platform.held)
	require.Less(t, len(w.platform.held), 40)
	report, err := w.deliverer().Sync(t.Context(), "vip", "4", false, progress)
	require.NoError(t, err)
	require.False(t, report.Held)
	w.requireLaw(t)
}

// The plan is judged by the source and by what earlier syncs went by.
func TestPlanIsJudged(t *testing.T) {
	w := newWorld()
	w.held = audience.HeldPlan{}
	w.audience.MaxSourceHours = 6
	w.source = audience.Source{Evaluated: time.Now().Add(-5 * time.Hour), Events: 9}
	w.want(40, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	require.Len(t, w.past, 1)
	require.Equal(t, w.source, w.past[0].Source)
	require.EqualValues(t, 40, w.past[0].Members)

	w.want(80, "a")
	w.source.Evaluated = time.Now().Add(-7 * time.Hour)
	w.past[0].Expression = "another"
	p, err := w.deliverer().Plan(t.Context(), "vip")
	require.NoError(t, err)
	require.Equal(t, []string{"membership was last computed 7h0m0s ago, and 6h0m0s is allowed",
		"the segment's expression was changed since the last sync; with it 40 users would come and 0 go, of 40 held"}, p.Hold)
}
