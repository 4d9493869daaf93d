package segmenter_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/segmenter/expr"
	"github.com/kohorta/kohorta/segmenter/expr/exprtest"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

var lawVocabulary = exprtest.Vocabulary{
	EventTypes: []string{"purchase", "visit", "refund", "view"},
	Keys:       []string{"category", "price", "vip"},
	Texts:      []string{"", "true", "Furniture", "champions", "Fur"},
	Numbers:    []float64{0, 1, 2, 2.5, -1, 100},
	Countries:  []string{"", "DE", "FR"},
	Lengths:    []string{"1m", "10m", "1h", "24h", "48h", "168h"},
	Zones:      []string{"America/New_York", "Asia/Kathmandu", "Europe/Berlin"},
	Clusters:   []string{"habits", "untrained"},
}

// world is what is true: everything that was ever said of some users, and a live house that was told.
type world struct {
	*liveHouse
	random   *rand.Rand
	draw     exprtest.Draw
	segments []audience.Segment
	scores   []expr.Scores
	program  *expr.Program // of both
	users    []*truth
	events   int
	moves    int
}

// truth is all that is known of one user.
type truth struct {
	expr.History
	pins  map[audience.SegmentID]audience.Pin // the newest of each
	known bool
}

// newWorld has definitions, models of which some are trained, and users of whom something is known or nothing.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	w := &world{random: random, draw: exprtest.Drawing(random), liveHouse: newLiveHouse(t)}
	w.clock.set(pick(w, []time.Time{noon, // and before clocks are put forward, back, and before a year ends
		time.Date(2026, 3, 7, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC), time.Date(2026, 12, 30, 17, 0, 0, 0, time.UTC)}))
	for i := range 16 {
		id := audience.UserID(fmt.Sprintf("user-%06d", 13*i)) // on both sides of the key that some bounds of models have
		w.users = append(w.users, &truth{
			History: expr.History{User: id, Scores: map[audience.ModelID]audience.Score{}},
			pins:    map[audience.SegmentID]audience.Pin{},
		})
	}
	for _, model := range []audience.Model{
		{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{}},
		{ID: "habits", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm"}},
		{ID: "untrained", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm"}},
	} {
		created, err := w.store.Models().Create(t.Context(), model)
		require.NoError(t, err)
		w.scores = append(w.scores, expr.Scores{Model: model.ID, Kind: model.Kind, Number: created.Number})
	}
	for range w.draw(3) {
		w.train(t)
	}
	for i := range 8 {
		created, err := w.store.Segments().Create(t.Context(), audience.Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i+1)), Expression: "false"})
		require.NoError(t, err)
		w.segments = append(w.segments, created)
	}
	for _, u := range w.users[:12] {
		_, err := w.store.WriteEvents(t.Context(), w.happen(u))
		require.NoError(t, err)
	}
	w.define(t)
	w.evaluateEverybody(t)
	return w
}

// pick is one of the options.
func pick[T any](w *world, options []T) T { return exprtest.Pick(w.draw, options) }

// define gives each segment a new definition: it refers to earlier ones only, and comes after its betters of the group.
func (w *world) define(t *testing.T) {
	t.Helper()
	author := exprtest.Author{Vocabulary: lawVocabulary, Draw: w.draw}
	for i := range w.segments {
		s := &w.segments[i]
		s.Expression, s.Group, s.Priority = author.Condition(w.draw(3)), "", 0
		if w.draw(2) == 0 {
			s.Group, s.Priority = pick(w, []string{"tier", "phase"}), i/2
		}
		updated, err := w.store.Segments().Update(t.Context(), *s)
		require.NoError(t, err)
		*s = updated
		author.Segments = append(author.Segments, string(s.ID))
	}
	w.compile(t)
}

func (w *world) compile(t *testing.T) {
	t.Helper()
	var sources []expr.Segment
	for _, s := range w.segments {
		sources = append(sources, expr.Segment{ID: s.ID, Number: s.Number, Expression: s.Expression, Group: s.Group, Priority: s.Priority})
	}
	var err error
	w.program, err = expr.Compile(sources, w.scores)
	require.NoError(t, err)
}

// inForce is the program under the numbers that memberships have.
func (w *world) inForce(t *testing.T) *expr.Program {
	t.Helper()
	edition, err := w.Edition(t.Context())
	require.NoError(t, err)
	var sources []expr.Segment
	for _, d := range edition.Definitions {
		sources = append(sources, expr.Segment{ID: d.ID, Number: d.Number, Pinned: d.Segment, Expression: d.Expression, Group: d.Group, Priority: d.Priority})
	}
	program, err := expr.Compile(sources, w.scores)
	require.NoError(t, err)
	return program
}

// train publishes a version of a model, as if a training had found it.
func (w *world) train(t *testing.T) {
	t.Helper()
	scores := &w.scores[w.draw(2)]
	model, err := w.store.Models().Get(t.Context(), string(scores.Model))
	require.NoError(t, err)
	scores.Version, err = w.store.NextModelVersion(t.Context(), model.Number)
	require.NoError(t, err)
	version := audience.ModelVersion{Model: model.Number, Version: scores.Version, TrainTime: w.clock.Now(), AsOf: w.clock.Now()}
	if model.Kind == audience.ModelRFM {
		version.Fitted = w.fitRFM(t, scores)
	} else {
		w.label(t, version)
	}
	require.NoError(t, warehouse.Catalogue{Store: w.store}.Publish(t.Context(), model, version))
	w.compile(t)
}

// fitRFM makes up what an RFM model measures and has learned.
func (w *world) fitRFM(t *testing.T, scores *expr.Scores) (fitted string) {
	t.Helper()
	config, model := lawVocabulary.RFM(w.draw)
	scores.RFM = &expr.RFM{PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund", "view"}, Config: config, Model: model}
	document, err := json.Marshal(struct {
		rfm.Model
		Spec audience.RFMSpec `json:"spec"`
	}{model, audience.RFMSpec{
		PurchaseTypes: scores.RFM.PurchaseTypes, RefundTypes: scores.RFM.RefundTypes, IgnoreRefunds: config.Refunds == rfm.Ignore,
		WindowDays: config.WindowDays, TimeZone: config.TimeZone,
		Recency: string(config.Recency), Frequency: string(config.Frequency), Monetary: string(config.Monetary),
	}})
	require.NoError(t, err)
	return string(document)
}

// label gives most users a cluster, whether anything is known of them or not.
func (w *world) label(t *testing.T, version audience.ModelVersion) {
	t.Helper()
	rows := []string{}
	for _, u := range w.users {
		label := uint16(w.draw(4))
		if u.Scores["habits"] = (audience.Score{Label: label}); label > 0 {
			rows = append(rows, fmt.Sprintf("(%d, %d, '%s', %d)", version.Model, version.Version, u.User, label))
		}
	}
	if len(rows) > 0 {
		require.NoError(t, w.store.Exec(t.Context(), audience.Query{SQL: "INSERT INTO scores (model, version, user_id, label) VALUES " + strings.Join(rows, ", ")}))
	}
}

// later is an instant ahead: often just before, at or just after one at which somebody's answer may change.
func (w *world) later() time.Time {
	now := w.clock.Now()
	var moments []time.Time
	for _, zone := range append([]string{"UTC"}, lawVocabulary.Zones...) { // the next days' beginnings
		if location, err := time.LoadLocation(zone); err == nil {
			year, month, day := now.In(location).Date()
			moments = append(moments, time.Date(year, month, day+1+w.draw(2), 0, 0, 0, 0, location))
		}
	}
	u := pick(w, w.users)
	for _, e := range u.Events {
		moments = append(moments, e.Time, e.Time.Add(w.length()), e.Time.Add(w.length()))
	}
	for _, pin := range u.pins {
		if !pin.Expires.IsZero() {
			moments = append(moments, pin.Expires)
		}
	}
	if w.draw(3) > 0 {
		if at := pick(w, moments).Add(time.Duration(w.draw(3)-1) * time.Millisecond); at.After(now) {
			return at
		}
	}
	return now.Add(pick(w, []time.Duration{0, time.Millisecond, time.Minute, w.upTo(3 * 24 * time.Hour)}))
}

// length is a length of time that expressions have, too.
func (w *world) length() time.Duration {
	length, _ := time.ParseDuration(pick(w, lawVocabulary.Lengths))
	return length
}

func (w *world) upTo(most time.Duration) time.Duration {
	return time.Duration(w.draw(int(most.Milliseconds()))) * time.Millisecond
}

// happen makes up events of a user, of which some repeat earlier ones.
func (w *world) happen(u *truth) (events []audience.Event) {
	now, before := w.clock.Now(), len(u.Events)
	u.known = true
	for range 1 + w.draw(3) {
		if len(u.Events) > 0 && w.draw(5) == 0 {
			i := w.draw(len(u.Events))
			again := u.Events[i]
			if i < before { // of what a call has brought twice either may be the first
				again.ValueMicros++ // the first one stands
			}
			events = append(events, again)
			continue
		}
		w.events++
		e := audience.Event{User: u.User, ID: fmt.Sprint(w.events), Type: pick(w, lawVocabulary.EventTypes), ValueMicros: int64(w.draw(5)) * 1e6}
		if e.Type == "refund" {
			e.ValueMicros = -e.ValueMicros
		}
		switch w.draw(4) {
		case 0:
			e.Time = now
		case 1: // about to leave a window
			e.Time = now.Add(-w.length()).Add(time.Duration(w.draw(3)-1) * time.Millisecond)
		case 2:
			e.Time = now.Add(-w.upTo(9 * 24 * time.Hour))
		default: // ahead of its time
			e.Time = now.Add(w.upTo(48 * time.Hour))
		}
		e.Texts, e.Numbers = lawVocabulary.Properties(w.draw)
		u.Events = append(u.Events, e)
		events = append(events, e)
	}
	w.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	return events
}

// describe replaces the country and all attributes of a user.
func (w *world) describe(t *testing.T, u *truth) {
	t.Helper()
	u.known = true
	u.Profile.Country = pick(w, lawVocabulary.Countries)
	u.Profile.Texts, u.Profile.Numbers = lawVocabulary.Properties(w.draw)
	require.NoError(t, w.store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{
		User: u.User, Country: &u.Profile.Country, RemovedAttributes: lawVocabulary.Keys, Texts: u.Profile.Texts, Numbers: u.Profile.Numbers,
	}}))
	w.Touch([]audience.UserID{u.User}, segmenter.CauseProfile)
}

// move moves a user by hand.
func (w *world) move(t *testing.T, u *truth) {
	t.Helper()
	w.moves++
	move := audience.Move{User: u.User, RequestID: fmt.Sprint(w.moves), Actor: "crm"}
	if w.draw(2) == 0 {
		move.Expires = w.clock.Now().Add(w.length())
	}
	groups := map[string]bool{}
	for range 1 + w.draw(3) {
		segment := pick(w, w.segments)
		pin := audience.Pin{Segment: segment.Number, Expires: move.Expires, Version: uint64(w.moves)}
		switch known := u.pins[segment.ID]; {
		case known.Version == pin.Version: // named already
			continue
		case w.draw(5) == 0:
			move.Release = append(move.Release, segment.ID)
		case w.draw(2) == 0:
			pin.Held = audience.HeldOut
			move.OutOf = append(move.OutOf, segment.ID)
		case segment.Group != "" && groups[segment.Group]: // only one of a group
			continue
		default:
			groups[segment.Group] = true
			pin.Held = audience.HeldIn
			move.Into = append(move.Into, segment.ID)
		}
		u.pins[segment.ID], u.known = pin, true
	}
	if len(move.Into)+len(move.OutOf)+len(move.Release) == 0 {
		return
	}
	_, err := w.MoveUser(t.Context(), move)
	require.NoError(t, err)
	w.requireTrue(t, u, fmt.Sprintf("in force when the call returns: %+v", move))
}
