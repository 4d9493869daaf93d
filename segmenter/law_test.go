package segmenter_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// TestLiveLaw is the law of live membership: after every step of random histories (events late, repeated, out of order and
// ahead of their time, profiles, moves, restarts, time alone), what callers read is what evaluating everybody anew would
// give, and what the reference evaluator says of each user. A case is a user after a step.
//
//	KOHORTA_SOAK=1h go test ./segmenter -run LiveLaw -timeout 2h
func TestLiveLaw(t *testing.T) {
	duration, _ := time.ParseDuration(os.Getenv("KOHORTA_SOAK"))
	const worlds, steps = 4, 8
	cases := 0
	for began, n := time.Now(), uint64(0); n < worlds || time.Since(began) < duration; n++ {
		seed := n
		if duration > 0 {
			seed += uint64(began.UnixNano())
		}
		w := newWorld(t, seed)
		for step := range steps {
			w.step(t)
			w.requireLaw(t, fmt.Sprintf("seed %d, step %d", seed, step))
			cases += len(w.users)
		}
		w.stop()
	}
	t.Logf("%d cases", cases)
	require.GreaterOrEqual(t, cases, 500)
}

// world is what is true: everything that was ever said of some users, and a live house that was told.
type world struct {
	*liveHouse
	random   *rand.Rand
	segments []audience.Segment
	parsed   []*expr.Expr
	users    []*truth
	events   int
	moves    int
}

// truth is all that is known of one user.
type truth struct {
	id      audience.UserID
	events  []audience.Event
	profile audience.Profile
	pins    map[audience.SegmentID]truePin // the newest of each
	moved   bool
}

type truePin struct {
	held    audience.Held
	expires time.Time
	move    int
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{random: rand.New(rand.NewPCG(seed, 1))}
	for i := range 8 {
		expression := author{w.random, i}.condition(2)
		segment := audience.Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i+1)), Expression: expression}
		if w.random.IntN(2) == 0 {
			segment.Group, segment.Priority = pick(w.random, []string{"tier", "phase"}), i/2
		}
		parsed, err := expr.Parse(expression)
		require.NoError(t, err, expression)
		w.segments, w.parsed = append(w.segments, segment), append(w.parsed, parsed)
	}
	for i := range 16 {
		w.users = append(w.users, &truth{id: audience.UserID(fmt.Sprintf("user-%02d", i)), pins: map[audience.SegmentID]truePin{}})
	}
	w.liveHouse = newLiveHouse(t, w.segments...)
	return w
}

// step lets something happen, and everybody be told.
func (w *world) step(t *testing.T) {
	t.Helper()
	w.clock.set(w.later())
	for range w.random.IntN(6) {
		switch u := pick(w.random, w.users); w.random.IntN(8) {
		case 0:
			country := pick(w.random, countries)
			u.profile.Country = country
			require.NoError(t, w.store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: u.id, Country: &country}}))
			w.Touch([]audience.UserID{u.id}, "profile")
		case 1, 2:
			w.move(t, u)
		default:
			w.ingest(t, w.happen(u)...)
		}
	}
	if w.random.IntN(6) == 0 {
		w.stop()
		for range w.random.IntN(3) { // acknowledged, and the process gone before anybody was told
			_, err := w.store.WriteEvents(t.Context(), w.happen(pick(w.random, w.users)))
			require.NoError(t, err)
		}
		w.clock.set(w.later())
		w.start(t)
	}
	w.settle(t)
}

// later is an instant ahead: often just before, at or just after one at which somebody's answer may change.
func (w *world) later() time.Time {
	now := w.clock.Now()
	u := pick(w.random, w.users)
	var moments []time.Time
	for _, e := range u.events {
		moments = append(moments, e.Time, e.Time.Add(pick(w.random, lawWindows)))
	}
	for _, pin := range u.pins {
		if !pin.expires.IsZero() {
			moments = append(moments, pin.expires)
		}
	}
	if len(moments) > 0 && w.random.IntN(3) > 0 {
		at := pick(w.random, moments).Add(time.Duration(w.random.IntN(3)-1) * time.Millisecond)
		if at.After(now) {
			return at
		}
	}
	return now.Add(pick(w.random, []time.Duration{0, time.Millisecond, time.Minute, time.Duration(w.random.Int64N(int64(3 * 24 * time.Hour))).Truncate(time.Millisecond)}))
}

// happen makes up events of a user, of which some repeat earlier ones.
func (w *world) happen(u *truth) (events []audience.Event) {
	now := w.clock.Now()
	for range 1 + w.random.IntN(3) {
		if len(u.events) > 0 && w.random.IntN(5) == 0 {
			again := pick(w.random, u.events)
			again.ValueMicros++ // the first one stands
			events = append(events, again)
			continue
		}
		w.events++
		e := audience.Event{User: u.id, ID: fmt.Sprint(w.events), Type: pick(w.random, lawTypes), ValueMicros: int64(w.random.IntN(5)) * 1e6}
		switch w.random.IntN(4) {
		case 0:
			e.Time = now
		case 1: // about to leave a window
			e.Time = now.Add(-pick(w.random, lawWindows)).Add(time.Duration(w.random.IntN(3)-1) * time.Millisecond)
		case 2:
			e.Time = now.Add(-time.Duration(w.random.Int64N(int64(9 * 24 * time.Hour)))).Truncate(time.Millisecond)
		default: // ahead of its time
			e.Time = now.Add(time.Duration(w.random.Int64N(int64(48 * time.Hour)))).Truncate(time.Millisecond)
		}
		if w.random.IntN(2) == 0 {
			e.Texts = map[string]string{"color": pick(w.random, lawColors)}
		}
		u.events = append(u.events, e)
		events = append(events, e)
	}
	w.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	// A repeat must not overtake the first one within one call.
	slices.SortStableFunc(events, func(a, b audience.Event) int { return cmp.Compare(a.ValueMicros%1e6, b.ValueMicros%1e6) })
	return events
}

// move moves a user by hand.
func (w *world) move(t *testing.T, u *truth) {
	t.Helper()
	w.moves++
	move := audience.Move{User: u.id, RequestID: fmt.Sprint(w.moves), Actor: "crm"}
	if w.random.IntN(2) == 0 {
		move.Expires = w.clock.Now().Add(pick(w.random, lawWindows))
	}
	groups := map[string]bool{}
	for _, i := range w.random.Perm(len(w.segments))[:1+w.random.IntN(3)] {
		segment := w.segments[i]
		pin := truePin{expires: move.Expires, move: w.moves}
		switch w.random.IntN(5) {
		case 0:
			move.Release = append(move.Release, segment.ID)
		case 1, 2:
			pin.held = audience.HeldOut
			move.OutOf = append(move.OutOf, segment.ID)
		default:
			if segment.Group != "" && groups[segment.Group] {
				continue
			}
			groups[segment.Group] = true
			pin.held = audience.HeldIn
			move.Into = append(move.Into, segment.ID)
		}
		u.pins[segment.ID] = pin
	}
	if len(move.Into)+len(move.OutOf)+len(move.Release) == 0 {
		return
	}
	u.moved = true
	_, err := w.MoveUser(t.Context(), move)
	require.NoError(t, err)
	require.Equal(t, w.expected(u), w.segmentsOf(t, u.id), "in force when the call returns: %+v", move)
}

// expected says, slowly and obviously, which segments a user is in now.
func (w *world) expected(u *truth) (in []audience.Number) {
	now := w.clock.Now()
	known := len(u.events) > 0 || u.profile.Country != "" || u.moved
	history := expr.History{Events: u.events, Profile: u.profile, Memberships: map[audience.SegmentID]bool{}}
	standing := func(i int) (pin truePin) {
		if pin = u.pins[w.segments[i].ID]; !pin.expires.IsZero() && !pin.expires.After(now) {
			return truePin{}
		}
		return pin
	}
	for i, segment := range w.segments { // each refers to earlier ones only, and comes after its betters of the group
		pin := standing(i)
		member := pin.held == audience.HeldIn || known && pin.held != audience.HeldOut && w.parsed[i].Eval(history, now)
		if segment.Group != "" {
			for j, mate := range w.segments {
				if j == i || mate.Group != segment.Group {
					continue
				}
				other := standing(j)
				switch {
				case other.held == audience.HeldIn && (pin.held != audience.HeldIn || other.move > pin.move):
					member = false
				case j < i && pin.held != audience.HeldIn && history.Memberships[mate.ID]:
					member = false
				}
			}
		}
		history.Memberships[segment.ID] = member
		if member {
			in = append(in, audience.Number(i+1))
		}
	}
	return in
}

// requireLaw compares what is read with what is true, and with an evaluation of everybody.
func (w *world) requireLaw(t *testing.T, when string) {
	t.Helper()
	for _, u := range w.users {
		if !slices.Equal(w.expected(u), w.segmentsOf(t, u.id)) {
			for i, s := range w.segments {
				t.Logf("s%d %q/%d %s", i+1, s.Group, s.Priority, s.Expression)
			}
			for _, e := range u.events {
				t.Logf("%s %s %s %d %v", e.ID, e.Type, e.Time.Format(time.RFC3339Nano), e.ValueMicros, e.Texts)
			}
			t.Logf("%+v %+v", u.profile, u.pins)
			require.Equal(t, w.expected(u), w.segmentsOf(t, u.id), "%s: %s at %s", when, u.id, w.clock.Now().Format(time.RFC3339Nano))
		}
	}
	var sources []expr.Segment
	for i, s := range w.segments {
		sources = append(sources, expr.Segment{ID: s.ID, Number: audience.Number(i + 1), Expression: s.Expression, Group: s.Group, Priority: s.Priority})
	}
	program, err := expr.Compile(sources, nil)
	require.NoError(t, err)
	everybody := program.Query(w.clock.Now(), nil)
	for change, err := range w.store.Diff(t.Context(), audience.Query{SQL: "SELECT user_id, segments FROM (" + everybody.SQL + ")", Params: everybody.Params}, true) {
		require.NoError(t, err)
		require.Fail(t, "evaluating everybody would change somebody", "%s: %+v", when, change)
	}
}
