package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// world is a real ClickHouse with the service's schema, in which histories are written and queries run.
type world struct {
	t     testing.TB
	store *warehouse.Store
	users int // written so far: each gets an id of its own
}

// models are what the tests' expressions may refer to. Version 3 of the k-means model is the one to read, others hold traps.
var models = modelsWith(&RFM{
	PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund"},
	Model: rfm.Model{
		Bins:      3,
		Recency:   rfm.Scale{Descending: true, Bounds: []rfm.Bound{{Value: 30}, {Value: 2}}},
		Frequency: rfm.Scale{Bounds: []rfm.Bound{{Value: 2}, {Value: 3}}},
		Monetary: rfm.Scale{
			Bounds:    []rfm.Bound{{Value: 1}, {Value: 3_000_000}},
			Quantiles: rfm.Quantiles{Values: []int64{-7, 300_029, 300_030}, Shares: []int{3, 251, 1000}},
		},
		Rules: []rfm.Rule{{Segment: "champions", Recency: rfm.Range{3, 3}, Frequency: rfm.Range{2, 3}}, {Segment: "at_risk", Recency: rfm.Range{1, 2}}},
	},
})

func modelsWith(model *RFM) []Scores {
	return []Scores{
		{Model: "rfm", Kind: audience.ModelRFM, Number: 1, Version: 1, RFM: model},
		{Model: "habits", Kind: audience.ModelKMeans, Number: 2, Version: 3},
		{Model: "untrained", Kind: audience.ModelKMeans, Number: 9},
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store, err := warehouse.Open(t.Context(), warehouse.Config{DSN: enginetest.ClickHouse(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &world{t: t, store: store}
}

// write stores histories under new user ids, which it gives them and returns in the same order.
func (w *world) write(histories []History) []audience.UserID {
	w.t.Helper()
	var ids []audience.UserID
	var events []audience.Event
	var profiles []audience.ProfileUpdate
	var scores, pins []string
	for i := range histories {
		h := &histories[i]
		w.users++
		id := audience.UserID(fmt.Sprintf("user-%06d", w.users))
		ids = append(ids, id)
		h.User = id
		for i := range h.Events {
			h.Events[i].User, h.Events[i].ID = id, fmt.Sprint(i)
		}
		events = append(events, h.Events...)
		for _, p := range h.Pins {
			expires := int64(0)
			if !p.Expires.IsZero() {
				expires = p.Expires.UnixMilli()
			}
			pins = append(pins, // a pin that stands, and an earlier one that does not
				fmt.Sprintf("('%s', %d, %d, fromUnixTimestamp64Milli(%d), %d)", id, p.Segment, p.Held, expires, 100+p.Version),
				fmt.Sprintf("('%s', %d, %d, fromUnixTimestamp64Milli(0), %d)", id, p.Segment, -p.Held, 1))
		}
		country := h.Profile.Country
		profiles = append(profiles, audience.ProfileUpdate{User: id, Country: &country, Texts: h.Profile.Texts, Numbers: h.Profile.Numbers})
		for _, m := range models {
			if s, scored := h.Scores[m.Model]; scored {
				scores = append(scores, scoreRow(m.Number, m.Version, id, s), scoreRow(m.Number, m.Version+1, id, audience.Score{R: 5, F: 5, M: 5, Segment: "trap", Label: 1}))
			}
		}
	}
	_, err := w.store.WriteEvents(w.t.Context(), events)
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.UpsertProfiles(w.t.Context(), profiles))
	if len(pins) > 0 {
		require.NoError(w.t, w.store.Exec(w.t.Context(), audience.Query{SQL: "INSERT INTO pins (user_id, segment, held, expires, version) VALUES " + strings.Join(pins, ", ")}))
	}
	if len(scores) > 0 {
		require.NoError(w.t, w.store.Exec(w.t.Context(), audience.Query{SQL: `INSERT INTO scores
			(model, version, user_id, r, f, m, segment, recency_days, frequency, monetary_micros, label, distance) VALUES ` + strings.Join(scores, ", ")}))
	}
	return ids
}

func scoreRow(model audience.Number, version uint32, user audience.UserID, s audience.Score) string {
	return fmt.Sprintf("(%d, %d, '%s', %d, %d, %d, '%s', %d, %d, %d, %d, 0)",
		model, version, user, s.R, s.F, s.M, s.Segment, s.RecencyDays, s.Frequency, s.MonetaryMicros, s.Label)
}

// evaluated is a row of a query of Program.Query.
type evaluated struct {
	segments []audience.Number
	due      time.Time // zero: never
}

// evaluate runs a query of Program.Query.
func (w *world) evaluate(q audience.Query) map[audience.UserID]evaluated {
	w.t.Helper()
	found := map[audience.UserID]evaluated{}
	err := w.store.Select(w.t.Context(), q, func(scan func(...any) error) error {
		var user string
		var segments []uint32
		var due int64
		if err := scan(&user, &segments, &due); err != nil {
			return err
		}
		_, twice := found[audience.UserID(user)]
		require.False(w.t, twice, "two rows of %s", user)
		row := evaluated{segments: []audience.Number{}}
		for _, s := range segments {
			row.segments = append(row.segments, audience.Number(s))
		}
		if due != 0 {
			row.due = time.UnixMilli(due).UTC()
		}
		found[audience.UserID(user)] = row
		return nil
	})
	require.NoError(w.t, err, "%s\n%v", q.SQL, q.Params)
	return found
}

// compute evaluates users in Go, from excerpts of what is stored.
func (w *world) compute(p *Program, at time.Time, users []audience.UserID) map[audience.UserID]evaluated {
	w.t.Helper()
	found := map[audience.UserID]evaluated{}
	evaluator := p.At(at)
	for x, err := range w.store.Excerpts(w.t.Context(), users, evaluator.Selection()) {
		require.NoError(w.t, err)
		if x.Known {
			segments, due := evaluator.Evaluate(x)
			found[x.User] = evaluated{append([]audience.Number{}, segments...), due}
		}
	}
	return found
}

// compile compiles expressions as segments s0, s1, … with the numbers 1, 2, …
func compile(t require.TestingT, expressions ...string) *Program {
	return compileAs(t, models, func(*Segment) {}, expressions...)
}

// compileAs compiles expressions as segments s0, s1, … with the numbers 1, 2, …, and whatever else shape gives them.
func compileAs(t require.TestingT, scores []Scores, shape func(*Segment), expressions ...string) *Program {
	segments := make([]Segment, len(expressions))
	for i, e := range expressions {
		segments[i] = Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i)), Number: audience.Number(i + 1), Expression: e}
		shape(&segments[i])
	}
	p, err := Compile(segments, scores)
	require.NoError(t, err, strings.Join(expressions, "\n"))
	return p
}

// agree says where the query, for everybody, the evaluator in Go, for the asked users, and the reference evaluator do not say the same of the
// histories of ids; these must be all users there are. Of the asked, it also compares the answer with those at instants before the one at which time may change it.
// It counts the memberships.
func (w *world) agree(p *Program, at time.Time, histories []History, ids, asked []audience.UserID, instants ...time.Duration) (memberships int, err error) {
	w.t.Helper()
	everybody, given := w.evaluate(p.Query(at)), w.compute(p, at, asked)
	if len(everybody) != len(ids) || !slices.Equal(slices.Sorted(maps.Keys(given)), asked) {
		return 0, fmt.Errorf("%d of %d users evaluated, %d of %d asked for", len(everybody), len(ids), len(given), len(asked))
	}
	for i, id := range ids {
		want, got := p.Eval(histories[i], at), everybody[id]
		computed, isGiven := given[id]
		if !slices.Equal(got.segments, want) || isGiven && (!slices.Equal(computed.segments, want) || computed.due != got.due) {
			return 0, fmt.Errorf("at %s: reference %v, query %v, in Go %v\n%s\n%+v\n%s",
				at.Format(time.RFC3339Nano), want, got, computed, sources(p), histories[i], p.Query(at).SQL)
		}
		if !isGiven {
			memberships += len(want)
			continue
		}
		for _, instant := range undue(histories[i], at, got.due, instants) {
			if later := p.Eval(histories[i], instant); !slices.Equal(later, want) {
				return 0, fmt.Errorf("%v at %s, %v at %s, though nothing is due before %s\n%s\n%+v\n%s",
					want, at.Format(time.RFC3339Nano), later, instant.Format(time.RFC3339Nano), got.due.Format(time.RFC3339Nano), sources(p), histories[i], p.Query(at).SQL)
			}
		}
		memberships += len(want)
	}
	return memberships, nil
}

// undue are instants after at and before due: those around each event, and each of the distances after an event and after at; and the last one.
func undue(h History, at, due time.Time, distances []time.Duration) (instants []time.Time) {
	candidates := []time.Time{due.Add(-time.Millisecond)}
	for _, distance := range append(distances, 0) {
		from := []time.Time{at}
		for _, e := range h.Events {
			from = append(from, e.Time)
		}
		for _, p := range h.Pins {
			from = append(from, p.Expires)
		}
		for _, t := range from {
			candidates = append(candidates, t.Add(distance-time.Millisecond), t.Add(distance), t.Add(distance+time.Millisecond))
		}
	}
	for _, t := range candidates {
		if t.After(at) && (t.Before(due) || due.IsZero()) {
			instants = append(instants, t)
		}
	}
	return instants
}

func sources(p *Program) string {
	var lines []string
	for _, u := range p.units {
		lines = append(lines, fmt.Sprintf("%d %s %d: %s", u.Number, u.Group, u.Priority, u.Expression))
	}
	return strings.Join(lines, "\n")
}
