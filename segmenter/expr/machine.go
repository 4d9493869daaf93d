package expr

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// machine is a program compiled to functions in Go, which evaluate users one by one from excerpts of their histories. It answers
// as the query does, which for a few users takes the database longer to analyse than to run.
//
// Conditions and values become functions. Each distinct aggregate has a tally, into which every event is counted once. A machine
// never changes once it is made.
type machine struct {
	program    *Program
	types      []string         // of events, by their number
	lengths    [][]int64        // of each type: the lengths of its windows, ascending, in milliseconds
	reads      [][]int          // of each type: the windows in use, by their place in windows
	folds      [][]func(*state) // of each type: functions that count the event at hand
	windows    []window
	texts      []string // properties of events
	numbers    []string
	country    bool
	attributes bool
	inOrder    bool // something depends on which event is the first or the last
	clusters   []audience.ModelID

	aggregates []aggregate
	sequences  []sequence
	rfm        *purchases

	holds    []test // of each unit: whether its expression does
	byNumber []int  // the units, ascending
	instants []func(*state) int64
}

// The functions that conditions and values become. A number that is missing is NaN.
type (
	test    func(*state) bool
	figure  func(*state) float64
	wording func(*state) (text string, present bool)
)

func newMachine(p *Program) *machine {
	m := &machine{program: p}
	for i, u := range p.units {
		m.holds, m.byNumber = append(m.holds, m.test(u.expr.root)), append(m.byNumber, i)
	}
	slices.SortFunc(m.byNumber, func(a, b int) int { return cmp.Compare(p.units[a].Number, p.units[b].Number) })
	for _, u := range p.units {
		passage{p, m}.condition(u.expr.root)
	}
	m.foldPurchases()
	return m
}

// Evaluator evaluates users at one instant. It is not safe for concurrent use.
type Evaluator struct {
	machine *machine
	state   state
}

// At evaluates at an instant, to the millisecond.
func (p *Program) At(at time.Time) *Evaluator {
	m := p.machine()
	e := &Evaluator{machine: m, state: state{
		at: at.UnixMilli(), in: make([]bool, len(p.units)), holds: make([]bool, len(p.units)),
		tallies: make([]tally, len(m.aggregates)), chains: make([]chain, len(m.sequences)),
	}}
	for _, w := range m.windows {
		after, until := w.bounds(e.state.at)
		e.state.bounds = append(e.state.bounds, bounds{after, until})
	}
	return e
}

// Selection is what Evaluate needs of each user.
func (e *Evaluator) Selection() audience.Selection {
	m := e.machine
	s := audience.Selection{
		Texts: m.texts, Numbers: m.numbers, Country: m.country, Attributes: m.attributes, InOrder: m.inOrder,
		Orders: m.rfm != nil && m.rfm.countsOrders(),
	}
	for i, event := range m.types {
		reach := int64(math.MaxInt64)
		for _, w := range m.reads[i] {
			reach = min(reach, e.state.bounds[w].after)
		}
		selected := audience.EventSelection{Type: event}
		if reach >= 0 { // events begin in 1970
			selected.After = time.UnixMilli(reach).UTC()
		}
		s.Events = append(s.Events, selected)
	}
	for _, id := range m.clusters {
		scores := m.program.scores[id]
		s.Scores = append(s.Scores, audience.ScoreSelection{Model: scores.Number, Version: scores.Version})
	}
	return s
}

// Evaluate answers for one user as a row of Program.Query does: the segments, ascending, and the next instant at which time alone
// may change them; zero: never.
func (e *Evaluator) Evaluate(x *audience.Excerpt) (segments []audience.Number, due time.Time) {
	m, s := e.machine, &e.state
	s.begin(x)
	for i := range x.Events {
		m.take(s, &x.Events[i])
	}
	m.conclude(s)
	m.applyPins(s)
	for _, unit := range m.byNumber {
		if s.in[unit] {
			segments = append(segments, m.program.units[unit].Number)
		}
	}
	for _, instant := range m.instants {
		s.next(instant(s))
	}
	if s.due > 0 {
		due = time.UnixMilli(s.due).UTC()
	}
	return segments, due
}

// take counts an event wherever it matches. One dated in the future counts when its time has come.
func (m *machine) take(s *state, event *audience.ExcerptEvent) {
	if event.Millis > s.at {
		s.next(event.Millis)
		return
	}
	for _, length := range m.lengths[event.Type] {
		if event.Millis > s.at-length { // of the windows it is in, it leaves this one first
			s.next(event.Millis + length)
			break
		}
	}
	s.event = event
	for _, fold := range m.folds[event.Type] {
		fold(s)
	}
	s.event = nil
}

// conclude finds for each unit whether its expression holds, once all events are counted.
func (m *machine) conclude(s *state) {
	for i := range m.sequences {
		s.chains[i].find(&m.sequences[i])
	}
	if m.rfm != nil {
		s.bought.conclude(m.rfm, s)
	}
	at := time.UnixMilli(s.at)
	for i, holds := range m.holds {
		s.holds[i] = holds(s)
		s.in[i] = m.program.member(i, s.holds, s.Pins, at)
	}
}

// applyPins notes when pins end; their effect on membership is in Program.member.
func (m *machine) applyPins(s *state) {
	for _, pin := range s.Pins {
		isOurs := slices.ContainsFunc(m.program.units, func(u unit) bool { return u.Pinned == pin.Segment })
		if isOurs && pin.Held != audience.Released && !pin.Expires.IsZero() {
			s.next(pin.Expires.UnixMilli())
		}
	}
}
