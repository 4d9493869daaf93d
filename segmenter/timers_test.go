package segmenter_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
)

// swiftSweep removes timers at once, where the store takes its time.
type swiftSweep struct{ *warehouse.Store }

func (s swiftSweep) DropTimers(ctx context.Context, until time.Time) error {
	return s.Exec(ctx, audience.Query{
		SQL:    "DELETE FROM timers WHERE due <= fromUnixTimestamp64Milli({until:Int64}, 'UTC') SETTINGS lightweight_deletes_sync = 2",
		Params: map[string]any{"until": until.UnixMilli()},
	})
}

func TestAMachineThatSleptForDaysLosesNoTimer(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`})
	h.stop()
	h.Log = swiftSweep{h.store}
	h.start(t)
	h.ingest(t, visit("a", "1", noon))
	h.settle(t)
	require.Equal(t, []audience.Number{1}, h.segmentsOf(t, "a"))
	h.clock.set(noon.AddDate(0, 0, 8))
	require.Eventually(t, func() bool { return len(h.segmentsOf(t, "a")) == 0 }, time.Minute, 20*time.Millisecond)
}

// mute is a log whose timers cannot be read on demand.
type mute struct {
	segmenter.Log
	away atomic.Bool
}

func (m *mute) Timers(ctx context.Context, after, until time.Time) iter.Seq2[audience.Timer, error] {
	if !m.away.Load() {
		return m.Log.Timers(ctx, after, until)
	}
	return func(yield func(audience.Timer, error) bool) {
		yield(audience.Timer{}, &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second})
	}
}

// TestATokenWaitsForTimersThatCannotBeRead: what fell due before it may be among them.
func TestATokenWaitsForTimersThatCannotBeRead(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`})
	h.stop()
	log := &mute{Log: h.store}
	h.Log = log
	h.start(t)
	h.ingest(t, visit("a", "1", noon))
	h.settle(t)
	log.away.Store(true)
	h.clock.set(noon.AddDate(0, 0, 8))
	token := h.Touch(nil, segmenter.CauseEvent)
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, h.Wait(soon, token), context.DeadlineExceeded)
	log.away.Store(false)
	require.NoError(t, h.Wait(t.Context(), token))
	require.Empty(t, h.segmentsOf(t, "a"))
}

func TestTimeAloneMovesMembership(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`}, audience.Segment{Expression: `count("visit", "30d") >= 1`})
	h.ingest(t, visit("a", "1", noon), visit("b", "1", noon.Add(time.Hour)))
	h.settle(t)
	require.Equal(t, []audience.Number{1, 2}, h.segmentsOf(t, "a"))
	require.Empty(t, h.segmentsOf(t, "b"), "the visit is yet to come")
	for _, test := range []struct {
		after time.Duration
		a, b  []audience.Number
	}{
		{time.Hour - time.Millisecond, []audience.Number{1, 2}, nil},
		{time.Hour, []audience.Number{1, 2}, []audience.Number{1, 2}},
		{7*24*time.Hour - time.Millisecond, []audience.Number{1, 2}, []audience.Number{1, 2}},
		{7 * 24 * time.Hour, []audience.Number{2}, []audience.Number{1, 2}},
		{7*24*time.Hour + time.Hour, []audience.Number{2}, []audience.Number{2}},
		{31 * 24 * time.Hour, nil, nil},
	} {
		h.clock.set(noon.Add(test.after))
		h.settle(t)
		require.Equal(t, test.a, h.segmentsOf(t, "a"), "a after %s", test.after)
		require.Equal(t, test.b, h.segmentsOf(t, "b"), "b after %s", test.after)
	}
}

// TestAnInstantDuringADowntime: what fell due before it stays done, what fell due during it is done at the start, and what
// falls due after it is done then.
func TestAnInstantDuringADowntime(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`})
	const week = 7 * 24 * time.Hour
	for user, at := range map[string]time.Time{"before": noon, "during": noon.Add(time.Hour), "later": noon.Add(2 * time.Hour)} {
		h.ingest(t, visit(user, "1", at.Add(-week).Add(time.Minute)))
	}
	members := func() (in []audience.UserID) {
		h.settle(t)
		for _, user := range []audience.UserID{"before", "during", "later"} {
			if len(h.segmentsOf(t, user)) > 0 {
				in = append(in, user)
			}
		}
		return in
	}
	require.Equal(t, []audience.UserID{"before", "during", "later"}, members())
	h.clock.set(noon.Add(time.Minute))
	require.Equal(t, []audience.UserID{"during", "later"}, members())
	h.stop()
	h.clock.set(noon.Add(time.Hour + time.Minute))
	h.start(t)
	require.Equal(t, []audience.UserID{"later"}, members())
	h.clock.set(noon.Add(2*time.Hour + time.Minute - time.Millisecond))
	require.Equal(t, []audience.UserID{"later"}, members())
	h.clock.set(noon.Add(2*time.Hour + time.Minute))
	require.Empty(t, members())
}

// heldBack is a log that does not evaluate everybody until it may.
type heldBack struct {
	segmenter.Log
	may chan struct{}
}

func (h heldBack) Stage(ctx context.Context, q audience.Query) (string, error) {
	select {
	case <-h.may:
	case <-ctx.Done():
	}
	return h.Log.Stage(ctx, q)
}

// TestWhatFellDueDuringADowntimeComesFirst: evaluating everybody takes a while.
func TestWhatFellDueDuringADowntimeComesFirst(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`})
	h.ingest(t, visit("a", "1", noon), visit("b", "1", noon.Add(time.Hour)))
	h.settle(t)
	h.stop()
	h.start(t) // evaluates everybody: all timers are in the database
	h.settle(t)
	h.stop()

	log := heldBack{h.store, make(chan struct{})}
	h.Log = log
	h.clock.set(noon.AddDate(0, 0, 7))
	h.start(t)
	require.Eventually(t, func() bool { return len(h.segmentsOf(t, "a")) == 0 }, 30*time.Second, 20*time.Millisecond)
	require.NotEmpty(t, h.segmentsOf(t, "b"))
	close(log.may)
	h.settle(t)
	require.NotEmpty(t, h.segmentsOf(t, "b"))
}
