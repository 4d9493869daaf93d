package segmenter_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter"
)

// Visitors come on some days; the segments are of them, of each other, and of one group.
var versioned = []audience.Segment{
	{ID: "busy", Expression: `count("visit", "30d") >= 3`},
	{ID: "calm", Expression: `!in_segment("busy") && did("visit", "30d")`},
	{ID: "gold", Expression: `count("visit", "30d") >= 4`, Group: "tier", Priority: 1},
	{ID: "bronze", Expression: `did("visit", "30d")`, Group: "tier", Priority: 2},
	{ID: "apart", Expression: `count("visit", "30d") == 2`},
}

// newVersioned is a running house of n visitors, of whom the i-th came i%6 times.
func newVersioned(t testing.TB, n int) *liveHouse {
	t.Helper()
	h := newLiveHouse(t, versioned...)
	var events []audience.Event
	for i := range n {
		for visits := range i % 6 {
			events = append(events, visit(comer(i), fmt.Sprint(visits), noon.Add(-time.Hour)))
		}
	}
	h.ingest(t, events...)
	h.settle(t)
	return h
}

func comer(i int) string { return fmt.Sprintf("user-%06d", i) }

// define changes the expression of a segment in the catalogue.
func (h *liveHouse) define(t testing.TB, id audience.SegmentID, expression string) audience.Segment {
	t.Helper()
	segment, err := h.store.Segments().Get(t.Context(), string(id))
	require.NoError(t, err)
	segment.Expression = expression
	segment, err = h.store.Segments().Update(t.Context(), segment)
	require.NoError(t, err)
	return segment
}

func (h *liveHouse) evaluateEverybody(t testing.TB) segmenter.Evaluation {
	t.Helper()
	result, err := h.Evaluate(t.Context(), nil, time.Time{}, "runs/change", quiet)
	require.NoError(t, err)
	return result
}

// seen is which segments each of n visitors is in, as readers see it: what was read while the edition changed is read again.
func (h *liveHouse) seen(t testing.TB, n int) (map[audience.UserID]string, uint64) {
	t.Helper()
	users := make([]audience.UserID, n)
	for i := range users {
		users[i] = audience.UserID(comer(i))
	}
	for {
		before, err := h.Edition(t.Context())
		require.NoError(t, err)
		memberships, err := h.live.Batch(t.Context(), users)
		require.NoError(t, err)
		after, err := h.Edition(t.Context())
		require.NoError(t, err)
		if before.Version != after.Version {
			continue
		}
		seen := map[audience.UserID]string{}
		for _, m := range memberships {
			ids := before.IDs(m.Segments)
			slices.Sort(ids)
			seen[m.User] = fmt.Sprint(ids)
		}
		return seen, before.Version
	}
}

// expect is what seen gives when each visitor is in the segments of his visits.
func expect(n int, of func(visits int) []string) map[audience.UserID]string {
	expected := map[audience.UserID]string{}
	for i := range n {
		ids := of(i % 6)
		slices.Sort(ids)
		expected[audience.UserID(comer(i))] = fmt.Sprint(ids)
	}
	return expected
}

// When busy begins at so many visits.
func tiersOf(busyFrom int) func(int) []string {
	return func(visits int) (ids []string) {
		switch {
		case visits >= busyFrom:
			ids = append(ids, "busy")
		case visits > 0:
			ids = append(ids, "calm")
		}
		switch {
		case visits >= 4:
			ids = append(ids, "gold")
		case visits > 0:
			ids = append(ids, "bronze")
		}
		if visits == 2 {
			ids = append(ids, "apart")
		}
		return ids
	}
}

// TestDefinitionsChangeAtOnce: readers who read all the time see everybody by the old definitions or everybody by the new ones,
// never some by each, and never the old ones again; segments that refer to the changed one change with it; live steps go on.
func TestDefinitionsChangeAtOnce(t *testing.T) {
	const users = 900
	h := newVersioned(t, users)
	before, after := expect(users, tiersOf(3)), expect(users, tiersOf(1))
	old, edition := h.seen(t, users)
	require.Equal(t, before, old)

	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	reads := make([]int, 4)
	for reader := range reads {
		readers.Go(func() {
			turned := false
			for ctx.Err() == nil {
				seen, version := h.seen(t, users)
				reads[reader]++
				turned = turned || version > edition
				want := before
				if turned {
					want = after
				}
				if !maps.Equal(seen, want) {
					t.Errorf("turned %t, but not all are as they should be: %d of %d", turned, agreeing(seen, want), users)
					return
				}
			}
		})
	}
	readers.Go(func() { // steps of users who are looked at, and stay as they are by either definition
		for ctx.Err() == nil {
			h.Touch([]audience.UserID{audience.UserID(comer(1)), audience.UserID(comer(5))}, segmenter.CauseEvent)
			time.Sleep(5 * time.Millisecond)
		}
	})
	h.define(t, "busy", `count("visit", "30d") >= 1`)
	result := h.evaluateEverybody(t)
	time.Sleep(20 * time.Millisecond) // somebody reads what came into force
	stop()
	readers.Wait()
	for _, n := range reads {
		require.NotZero(t, n)
	}
	moved := int64(users / 6 * 2) // one or two visits
	require.Equal(t, map[audience.SegmentID]int64{"busy": moved}, result.Entered)
	require.Equal(t, map[audience.SegmentID]int64{"calm": moved}, result.Left)
	require.Equal(t, moved, result.Changed)

	now, err := h.Edition(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, mustFind(t, now, "busy").Version)
	require.Equal(t, 1, mustFind(t, now, "calm").Version, "its definition is the same")
	h.requireClean(t, now)

	h.stop()
	h.start(t)
	h.settle(t)
	again, _ := h.seen(t, users)
	require.Equal(t, after, again)
}

func agreeing(a, b map[audience.UserID]string) (n int) {
	for user, segments := range a {
		if b[user] == segments {
			n++
		}
	}
	return n
}

func mustFind(t testing.TB, e *audience.Edition, id audience.SegmentID) audience.Definition {
	t.Helper()
	definition, found := e.Find(id)
	require.True(t, found, id)
	return definition
}

// requireClean: nothing on record, here and in the projection, is of a number that no reader sees.
func (h *liveHouse) requireClean(t testing.TB, e *audience.Edition) {
	t.Helper()
	for m, err := range h.store.Members(t.Context()) {
		require.NoError(t, err)
		require.Len(t, e.IDs(m.Segments), len(m.Segments), "%+v", m)
		projected, err := h.live.Get(t.Context(), m.User)
		require.NoError(t, err)
		require.Equal(t, m.Segments, projected.Segments)
	}
}

// TestUnchangedSegmentsAreNotTouched: only what may change gets another number.
func TestUnchangedSegmentsAreNotTouched(t *testing.T) {
	h := newVersioned(t, 12)
	before, err := h.Edition(t.Context())
	require.NoError(t, err)
	for _, change := range []struct {
		id      audience.SegmentID
		touched []audience.SegmentID
	}{
		{"apart", []audience.SegmentID{"apart"}},
		{"busy", []audience.SegmentID{"busy", "calm"}},
		{"bronze", []audience.SegmentID{"gold", "bronze"}},
	} {
		h.define(t, change.id, `count("visit", "29d") >= 2`)
		h.evaluateEverybody(t)
		after, err := h.Edition(t.Context())
		require.NoError(t, err)
		for _, d := range after.Definitions {
			require.Equal(t, slices.Contains(change.touched, d.ID), before.NumberOf(d.ID) != d.Number, "%s, when %s changed", d.ID, change.id)
		}
		before = after
	}
	h.evaluateEverybody(t)
	same, err := h.Edition(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Version, same.Version, "nothing has changed")
}

// TestWatchersAreToldWhomANewDefinitionMoves: once, beside the steps of users before and after, also from any cursor on.
func TestWatchersAreToldWhomANewDefinitionMoves(t *testing.T) {
	h := newVersioned(t, 12)
	begin, err := h.Cursor(t.Context())
	require.NoError(t, err)
	h.ingest(t, visit(comer(0), "before", noon))
	h.settle(t)
	h.define(t, "busy", `count("visit", "30d") >= 1`)
	h.evaluateEverybody(t)
	h.ingest(t, visit(comer(6), "after", noon))
	h.settle(t)

	watch := func(h *liveHouse, cursor string, n int, of ...audience.SegmentID) (changes []audience.WatchedChange) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for change, err := range h.Watch(ctx, cursor, of) {
			require.NoError(t, err)
			if changes = append(changes, change); len(changes) == n {
				break
			}
		}
		return changes
	}
	want := []string{
		comer(0) + " +[bronze calm] -[]",
		comer(0) + " +[busy] -[calm]", comer(1) + " +[busy] -[calm]", comer(2) + " +[busy] -[calm]",
		comer(7) + " +[busy] -[calm]", comer(8) + " +[busy] -[calm]",
		comer(6) + " +[bronze busy] -[]",
	}
	text := func(changes []audience.WatchedChange) (out []string) {
		for _, c := range changes {
			out = append(out, fmt.Sprintf("%s +%v -%v", c.User, sorted(c.Entered), sorted(c.Left)))
		}
		return out
	}
	check := func(from string) {
		t.Helper()
		all := watch(h, begin, len(want))
		require.Equal(t, want, text(all), from)
		for i, change := range all[:len(all)-1] {
			require.Equal(t, want[i+1:], text(watch(h, change.Cursor, len(want)-i-1)), "%s, after %d", from, i)
		}
		require.Equal(t, "runs/change", all[1].Cause)
	}
	check("from memory")
	h.stop()
	h.start(t)
	h.settle(t)
	check("from the log")
}

func sorted(ids []audience.SegmentID) []audience.SegmentID { return slices.Sorted(slices.Values(ids)) }

// TestThePastIsReadByTheDefinitionsOfThen covers membership as of a time, explanations, and pins that outlive versions.
func TestThePastIsReadByTheDefinitionsOfThen(t *testing.T) {
	h := newVersioned(t, 12)
	one := audience.UserID(comer(1))
	h.clock.set(noon.Add(time.Hour))
	_, err := h.MoveUser(t.Context(), audience.Move{User: audience.UserID(comer(0)), Into: []audience.SegmentID{"busy"}})
	require.NoError(t, err)
	_, err = h.MoveUser(t.Context(), audience.Move{User: audience.UserID(comer(5)), OutOf: []audience.SegmentID{"busy"}})
	require.NoError(t, err)
	h.clock.set(noon.Add(2 * time.Hour))
	segment := h.define(t, "busy", `count("visit", "30d") >= 1`)
	h.evaluateEverybody(t)
	h.clock.set(noon.Add(3 * time.Hour))

	at := func(when time.Time) []audience.SegmentID {
		t.Helper()
		membership, err := h.store.MembershipAt(t.Context(), one, when)
		require.NoError(t, err)
		edition, err := h.EditionAt(t.Context(), when)
		require.NoError(t, err)
		return sorted(edition.IDs(membership.Segments))
	}
	require.Equal(t, []audience.SegmentID{"bronze", "calm"}, at(noon.Add(time.Hour)))
	require.Equal(t, []audience.SegmentID{"bronze", "busy"}, at(noon.Add(3*time.Hour)))

	now, err := h.Explain(t.Context(), one, segment, time.Time{})
	require.NoError(t, err)
	require.True(t, now.Member)
	require.Equal(t, noon.Add(2*time.Hour), now.Since.Time)
	require.Equal(t, "runs/change", now.Since.Cause)
	then, err := h.Explain(t.Context(), one, segment, noon.Add(time.Hour))
	require.NoError(t, err)
	require.False(t, then.Member)
	require.Contains(t, then.Clauses[0].Text, ">= 3")
	require.Nil(t, then.Since)

	seen, _ := h.seen(t, 12)
	require.Equal(t, "[busy]", seen[audience.UserID(comer(0))], "moved into")
	require.Equal(t, "[calm gold]", seen[audience.UserID(comer(5))], "moved out of")
}

// breaking is a log that fails from one of its calls on, before the call or after it, until it is whole again.
type breaking struct {
	segmenter.Log
	mu     sync.Mutex
	call   string
	after  bool
	passed int // calls that still succeed
	broken bool
}

var errBroken = errors.New("broken")

func (b *breaking) fails(call string, do func() error) error {
	b.mu.Lock()
	if call == b.call {
		b.passed--
		b.broken = b.broken || b.passed < 0
	}
	broken, after := b.broken, b.after && call == b.call
	b.mu.Unlock()
	if broken && !after {
		return errBroken
	}
	if err := do(); err != nil {
		return err
	}
	if broken {
		return errBroken
	}
	return nil
}

func (b *breaking) PutEdition(ctx context.Context, e *audience.Edition) error {
	return b.fails("edition", func() error { return b.Log.PutEdition(ctx, e) })
}

func (b *breaking) AppendChanges(ctx context.Context, changes []audience.Change) error {
	return b.fails("append", func() error { return b.Log.AppendChanges(ctx, changes) })
}

func (b *breaking) Stage(ctx context.Context, q audience.Query) (staged string, err error) {
	err = b.fails("stage", func() (err error) { staged, err = b.Log.Stage(ctx, q); return err })
	return staged, err
}

func (b *breaking) Without(ctx context.Context, gone []audience.Number) iter.Seq2[audience.Change, error] {
	if err := b.fails("without", func() error { return nil }); err != nil {
		return func(yield func(audience.Change, error) bool) { yield(audience.Change{}, err) }
	}
	return b.Log.Without(ctx, gone)
}

// TestAChangeCutShort: whatever fails first, readers see everybody by one definition; after a restart everybody is by the new.
func TestAChangeCutShort(t *testing.T) {
	const users = 60
	for name, cut := range map[string]struct {
		call   string
		passed int
		after  bool
		turned bool // already before the restart
	}{
		"before it is staged":             {"stage", 0, false, false},
		"before the first change":         {"append", 0, false, false},
		"after the changes":               {"append", 0, true, false},
		"before the edition":              {"edition", 0, false, false},
		"in the midst of the edition":     {"edition", 0, true, false},
		"before the old numbers are gone": {"without", 0, false, true},
		"while the old numbers go":        {"append", 1, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newVersioned(t, users)
			h.stop()
			log := &breaking{Log: h.store, after: cut.after}
			whole, deps := h.Segmenter, h.Deps
			deps.Log = log
			h.Segmenter = segmenter.New(deps) // it does not run: what fails stays as it is
			_, err := h.Evaluate(t.Context(), nil, noon, "runs/before", quiet)
			require.NoError(t, err)
			log.mu.Lock()
			log.call, log.passed = cut.call, cut.passed
			log.mu.Unlock()

			before, after := expect(users, tiersOf(3)), expect(users, tiersOf(1))
			h.define(t, "busy", `count("visit", "30d") >= 1`)
			_, err = h.Evaluate(t.Context(), nil, noon, "runs/cut", quiet)
			require.ErrorIs(t, err, errBroken)
			want := before
			if cut.turned {
				want = after
			}
			seen, _ := h.seen(t, users)
			require.Equal(t, want, seen, "by one definition")

			h.Segmenter = whole // the log is, again
			h.start(t)
			h.settle(t)
			seen, _ = h.seen(t, users)
			require.Equal(t, after, seen)
			edition, err := h.Edition(t.Context())
			require.NoError(t, err)
			require.Eventually(t, func() bool { // the projection follows
				membership, err := h.live.Get(t.Context(), audience.UserID(comer(1)))
				return err == nil && len(edition.IDs(membership.Segments)) == len(membership.Segments)
			}, time.Minute, 10*time.Millisecond)
			h.requireClean(t, edition)
		})
	}
}

// TestAChangeWaitsForTheProjection: while Redis is away, readers of whatever go on seeing the old definitions.
func TestAChangeWaitsForTheProjection(t *testing.T) {
	f := newFollowing(t, 20)
	f.evaluate(t, nil, noon)
	edition, err := f.Edition(t.Context())
	require.NoError(t, err)
	segment, err := f.store.Segments().Get(t.Context(), "twice")
	require.NoError(t, err)
	segment.Expression = `count("visit", "all") >= 1`
	_, err = f.store.Segments().Update(t.Context(), segment)
	require.NoError(t, err)

	f.projection.away.Store(true)
	waiting := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		_, err := f.Evaluate(t.Context(), nil, noon, "test", func(stage string, _, _ int64) {
			if stage == "waiting for the membership projection" {
				once.Do(func() { close(waiting) })
			}
		})
		done <- err
	}()
	<-waiting
	same, err := f.Edition(t.Context())
	require.NoError(t, err)
	require.Equal(t, edition.Version, same.Version)
	f.projection.away.Store(false)
	require.NoError(t, <-done)
	next, err := f.Edition(t.Context())
	require.NoError(t, err)
	require.Greater(t, next.Version, edition.Version)
	f.requireInStep(t, 20)
}

// TestComparisonsTellWhatAChangeDoes, to the segment and those that depend on it; and change nothing themselves.
func TestComparisonsTellWhatAChangeDoes(t *testing.T) {
	const users = 60
	h := newVersioned(t, users)
	busy, err := h.store.Segments().Get(t.Context(), "busy")
	require.NoError(t, err)
	busy.Expression = `count("visit", "30d") in [1, 5]`
	before, _ := h.seen(t, users)
	compared, err := h.Compare(t.Context(), busy, 2)
	require.NoError(t, err)
	unchanged, _ := h.seen(t, users)
	require.Equal(t, before, unchanged)
	counts := func(c audience.ComparedSegment) []int64 { return []int64{c.Entering, c.Leaving, c.Staying} }
	require.Len(t, compared.Segments, 2)
	require.Equal(t, audience.SegmentID("busy"), compared.Segments[0].ID)
	require.Equal(t, []int64{10, 20, 10}, counts(compared.Segments[0]))
	require.Len(t, compared.Segments[0].EnteringSample, 2)
	require.Len(t, compared.Segments[0].LeavingSample, 2)
	for _, user := range compared.Segments[0].EnteringSample {
		require.NotContains(t, before[user], "busy")
	}
	require.Equal(t, audience.SegmentID("calm"), compared.Segments[1].ID)
	require.Equal(t, []int64{20, 10, 10}, counts(compared.Segments[1]))

	h.define(t, "busy", busy.Expression)
	result := h.evaluateEverybody(t)
	for _, c := range compared.Segments {
		require.Equal(t, c.Entering, result.Entered[c.ID], c.ID)
		require.Equal(t, c.Leaving, result.Left[c.ID], c.ID)
	}

	// A pin of another segment is none of a new one; one that comes first in a group takes its mates' members.
	_, err = h.MoveUser(t.Context(), audience.Move{User: audience.UserID(comer(0)), Into: []audience.SegmentID{"apart"}})
	require.NoError(t, err)
	compared, err = h.Compare(t.Context(), audience.Segment{ID: "platinum", Expression: `count("visit", "30d") == 5`, Group: "tier"}, 10)
	require.NoError(t, err)
	require.Equal(t, []int64{10, 0, 0}, counts(compared.Segments[0]))
	require.Equal(t, []audience.SegmentID{"platinum", "bronze", "gold"}, []audience.SegmentID{compared.Segments[0].ID, compared.Segments[1].ID, compared.Segments[2].ID})
	require.Equal(t, []int64{0, 10, 10}, counts(compared.Segments[2]))
	require.Empty(t, compared.Segments[1].LeavingSample)

	_, err = h.Compare(t.Context(), audience.Segment{ID: "new", Expression: `in_segment("nothing")`}, 1)
	require.ErrorIs(t, err, audience.ErrInvalid)
}

// TestVersionsRemain covers what the store keeps of definitions.
func TestVersionsRemain(t *testing.T) {
	h := newHouse(t)
	segment, err := h.store.Segments().Create(t.Context(), audience.Segment{ID: "vip", Expression: "true"})
	require.NoError(t, err)
	segment.Title = "Very important"
	segment, err = h.store.Segments().Update(t.Context(), segment)
	require.NoError(t, err)
	require.Equal(t, 1, segment.Version, "a title is no definition")
	stale := segment
	for i, expression := range []string{"false", "1 < 2", "false"} {
		segment.Expression = expression
		segment, err = h.store.Segments().Update(t.Context(), segment)
		require.NoError(t, err)
		require.Equal(t, i+2, segment.Version)
	}
	stale.Expression = "2 < 1"
	_, err = h.store.Segments().Update(t.Context(), stale)
	require.ErrorIs(t, err, audience.ErrConflict)
	versions, err := h.store.Segments().Versions(t.Context(), segment)
	require.NoError(t, err)
	var texts []string
	for _, v := range versions {
		texts = append(texts, fmt.Sprint(v.Version, " ", v.Expression))
		require.WithinDuration(t, time.Now(), v.DefineTime, time.Hour)
	}
	require.Equal(t, []string{"4 false", "3 1 < 2", "2 false", "1 true"}, texts)
}

// TestADefinitionOutlivesItsModel: a segment in force whose model is deleted does not stand in the way of what follows.
func TestADefinitionOutlivesItsModel(t *testing.T) {
	h := newLiveHouse(t)
	_, err := h.store.Models().Create(t.Context(), audience.Model{ID: "habits", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm"}})
	require.NoError(t, err)
	for _, segment := range []audience.Segment{{ID: "first", Expression: `cluster("habits") == 1`}, {ID: "others", Expression: `!in_segment("first")`}} {
		_, err := h.store.Segments().Create(t.Context(), segment)
		require.NoError(t, err)
	}
	h.evaluateEverybody(t)
	h.define(t, "first", `did("visit", "30d")`)
	require.NoError(t, h.store.Models().Delete(t.Context(), "habits", ""))
	h.stop()
	h.start(t)
	h.ingest(t, visit("a", "1", noon))
	h.settle(t)
	edition, err := h.Edition(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, mustFind(t, edition, "first").Version)
	membership, err := h.live.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, []audience.SegmentID{"first"}, edition.IDs(membership.Segments))
}

// TestUntrainedModelsAreSaid: an evaluation that takes a model's answer for missing says so.
func TestUntrainedModelsAreSaid(t *testing.T) {
	h := newHouse(t)
	_, err := h.store.Models().Create(t.Context(), audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{}})
	require.NoError(t, err)
	for id, expression := range map[audience.SegmentID]string{"best": "rfm.r == 5", "all": "true"} {
		_, err := h.store.Segments().Create(t.Context(), audience.Segment{ID: id, Expression: expression})
		require.NoError(t, err)
	}
	result, err := h.Evaluate(t.Context(), nil, noon, "test", quiet)
	require.NoError(t, err)
	require.Equal(t, []string{"models/rfm was never trained, so nobody has a score by it in best; train it, then evaluate again"}, result.Notes)
}
