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
)

// world is a real ClickHouse with the service's schema, in which histories are written and queries run.
type world struct {
	t     testing.TB
	store *warehouse.Store
	users int // written so far: each gets an id of its own
}

// models are what the tests' expressions may refer to. Version 3 of the RFM model is the one to read, others hold traps.
var models = []Scores{
	{Model: "rfm", Kind: audience.ModelRFM, Number: 1, Version: 3},
	{Model: "habits", Kind: audience.ModelKMeans, Number: 2, Version: 1},
	{Model: "untrained", Kind: audience.ModelKMeans, Number: 9},
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store, err := warehouse.Open(t.Context(), warehouse.Config{DSN: enginetest.ClickHouse(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &world{t: t, store: store}
}

// write stores histories under new user ids, which it returns in the same order.
func (w *world) write(histories []History) []audience.UserID {
	w.t.Helper()
	var ids []audience.UserID
	var events []audience.Event
	var profiles []audience.ProfileUpdate
	var scores []string
	for _, h := range histories {
		w.users++
		id := audience.UserID(fmt.Sprintf("user-%06d", w.users))
		ids = append(ids, id)
		for i, e := range h.Events {
			e.User, e.ID = id, fmt.Sprint(i)
			events = append(events, e)
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

// members runs a query of Program.Query.
func (w *world) members(q audience.Query) map[audience.UserID][]uint32 {
	w.t.Helper()
	found := map[audience.UserID][]uint32{}
	err := w.store.Select(w.t.Context(), q, func(scan func(...any) error) error {
		var user string
		var segments []uint32
		if err := scan(&user, &segments); err != nil {
			return err
		}
		_, twice := found[audience.UserID(user)]
		require.False(w.t, twice, "two rows of %s", user)
		found[audience.UserID(user)] = segments
		return nil
	})
	require.NoError(w.t, err, "%s\n%v", q.SQL, q.Params)
	return found
}

// compile compiles expressions as segments s0, s1, … with the numbers 1, 2, …
func compile(t require.TestingT, expressions ...string) *Program {
	segments := make([]Segment, len(expressions))
	for i, e := range expressions {
		segments[i] = Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i)), Number: audience.Number(i + 1), Expression: e}
	}
	p, err := Compile(segments, models)
	require.NoError(t, err, strings.Join(expressions, "\n"))
	return p
}

// expected is what the reference evaluator says of a history, as segment numbers.
func expected(p *Program, h History, at time.Time) []uint32 {
	h.Memberships = map[audience.SegmentID]bool{}
	numbers := []uint32{}
	for _, u := range p.units {
		h.Memberships[u.ID] = u.expr.Eval(h, at)
		if h.Memberships[u.ID] {
			numbers = append(numbers, uint32(u.Number))
		}
	}
	slices.Sort(numbers)
	return numbers
}

// agree says where the query, for everybody and for the asked users, and the reference evaluator do not say the same of the histories of ids;
// these must be all users there are. It counts the memberships.
func (w *world) agree(p *Program, at time.Time, histories []History, ids, asked []audience.UserID) (memberships int, err error) {
	w.t.Helper()
	everybody, given := w.members(p.Query(at, nil)), w.members(p.Query(at, asked))
	if len(everybody) != len(ids) || !slices.Equal(slices.Sorted(maps.Keys(given)), asked) {
		return 0, fmt.Errorf("%d of %d users evaluated, %d of %d asked for", len(everybody), len(ids), len(given), len(asked))
	}
	for i, id := range ids {
		want := expected(p, histories[i], at)
		restricted, isGiven := given[id]
		if !slices.Equal(everybody[id], want) || isGiven && !slices.Equal(restricted, want) {
			return 0, fmt.Errorf("at %s: reference %v, everybody %v, given %v\n%s\n%+v\n%s",
				at.Format(time.RFC3339Nano), want, everybody[id], restricted, sources(p), histories[i], p.Query(at, nil).SQL)
		}
		memberships += len(want)
	}
	return memberships, nil
}

func sources(p *Program) string {
	var lines []string
	for _, u := range p.units {
		lines = append(lines, fmt.Sprintf("%d: %s", u.Number, u.Expression))
	}
	return strings.Join(lines, "\n")
}
