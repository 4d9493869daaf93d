package segmenter_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestLiveLaw is the law of live membership: after every step of random histories (events late, repeated, out of order and
// ahead of their time, profiles, moves, new definitions, new versions of models, restarts, time alone), what callers read is
// what the reference evaluator says of each user, and evaluating everybody anew would change nobody. A case is a user after a
// step; a world's segments are random expressions of the whole language.
//
//	KOHORTA_SOAK=1h go test ./segmenter -run LiveLaw -timeout 2h
func TestLiveLaw(t *testing.T) {
	duration, _ := time.ParseDuration(os.Getenv("KOHORTA_SOAK"))
	const worlds, steps = 6, 10
	cases, held := 0, 0
	for began, n := time.Now(), uint64(0); n < worlds || time.Since(began) < duration; n++ {
		seed := n
		if duration > 0 {
			seed += uint64(began.UnixNano())
		}
		ended := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { // whose database and Redis go with it
			w := newWorld(t, seed)
			for step := range steps {
				w.step(t)
				held += w.requireLaw(t, fmt.Sprintf("step %d", step))
				cases += len(w.users)
			}
			w.stop()
		})
		require.True(t, ended)
	}
	t.Logf("%d cases, %d memberships", cases, held)
	require.GreaterOrEqual(t, cases, 500)
	require.Greater(t, held, cases, "histories and expressions do not meet")
}

// step lets something happen, and everybody be told.
func (w *world) step(t *testing.T) {
	t.Helper()
	w.clock.set(w.later())
	for range w.draw(6) {
		switch u := pick(w, w.users); w.draw(8) {
		case 0:
			w.describe(t, u)
		case 1, 2:
			w.move(t, u)
		default:
			w.ingest(t, w.happen(u)...)
		}
	}
	switch w.draw(12) {
	case 0, 1:
		w.restart(t)
	case 2:
		w.define(t)
		w.evaluateEverybody(t)
	case 3:
		w.train(t)
		w.evaluateEverybody(t)
	}
	w.settle(t)
}

// restart ends the service and starts it again a while later. What is acknowledged in its last moment nobody was told.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.stop()
	for range w.draw(3) {
		_, err := w.store.WriteEvents(t.Context(), w.happen(pick(w, w.users)))
		require.NoError(t, err)
	}
	w.clock.set(w.later())
	w.start(t)
}

// evaluateEverybody brings definitions and models into force.
func (w *world) evaluateEverybody(t *testing.T) {
	t.Helper()
	_, err := w.Evaluate(t.Context(), nil, time.Time{}, "test", quiet)
	require.NoError(t, err)
}

// requireLaw compares what is read with what is true, and with an evaluation of everybody. It counts the memberships.
func (w *world) requireLaw(t *testing.T, when string) (held int) {
	t.Helper()
	for _, u := range w.users {
		held += w.requireTrue(t, u, when)
	}
	everybody := w.inForce(t).Query(w.clock.Now())
	for change, err := range w.store.Diff(t.Context(), audience.Query{SQL: "SELECT user_id, segments FROM (" + everybody.SQL + ")", Params: everybody.Params}) {
		require.NoError(t, err)
		require.Fail(t, "evaluating everybody would change somebody", "%s: %+v", when, change)
	}
	return held
}

// requireTrue compares what is read of a user with what the reference evaluator says. It counts the memberships.
func (w *world) requireTrue(t *testing.T, u *truth, when string) (held int) {
	t.Helper()
	var want []audience.Number
	if u.Pins = slices.Collect(maps.Values(u.pins)); u.known {
		want = w.program.Eval(u.History, w.clock.Now())
	}
	if got := w.segmentsOf(t, u.User); !slices.Equal(want, got) {
		w.tell(t, u)
		require.Failf(t, "what is read is not true", "%s: %s at %s is read to be in %v, is in %v", when, u.User, w.clock.Now().Format(time.RFC3339Nano), got, want)
	}
	return len(want)
}

// tell logs what is needed to make a fixed case of a difference.
func (w *world) tell(t *testing.T, u *truth) {
	t.Helper()
	for _, s := range w.segments {
		t.Logf("%s %q/%d %s", s.ID, s.Group, s.Priority, s.Expression)
	}
	for _, s := range w.scores {
		t.Logf("%s: %+v %+v", s.Model, s.RFM, u.Scores[s.Model])
	}
	for _, e := range u.Events {
		t.Logf("%s %s %s %d %v %v", e.ID, e.Type, e.Time.Format(time.RFC3339Nano), e.ValueMicros, e.Texts, e.Numbers)
	}
	t.Logf("%+v %+v", u.Profile, u.pins)
}
