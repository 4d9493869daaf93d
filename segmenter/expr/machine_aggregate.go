package expr

import (
	"math"
	"math/big"
	"math/bits"
	"reflect"
	"slices"
)

// tally is what is counted of the events that an aggregate summarises.
type tally struct {
	events         int64
	micros         int64 // sum of their values
	oldest, newest int64 // of their times, in milliseconds
	number         float64
	text           string
	sum            exactSum
	distinct       map[distinct]struct{}
}

// distinct is a value that is counted once: a number, or a text.
type distinct struct {
	text     string
	number   float64
	isNumber bool
}

func (t *tally) reset() {
	known := t.distinct
	clear(known)
	*t = tally{distinct: known}
}

// tally is the place of an aggregate's tally; equal aggregates share one.
func (m *machine) tally(a aggregate) int {
	known := func(other aggregate) bool { return reflect.DeepEqual(a, other) }
	if at := slices.IndexFunc(m.aggregates, known); at >= 0 {
		return at
	}
	at := len(m.aggregates)
	m.aggregates = append(m.aggregates, a)
	counts := m.counting(a)
	m.fold(a.eventMatch, a.window, func(s *state) { counts(s, &s.tallies[at]) })
	return at
}

// fold has take called for each event in the window that matches.
func (m *machine) fold(match eventMatch, w window, take func(*state)) {
	within := m.window(match.event, w)
	where := func(*state) bool { return true }
	if match.where != nil {
		where = m.test(match.where)
	}
	event := slices.Index(m.types, match.event)
	m.folds[event] = append(m.folds[event], func(s *state) {
		if within.holds(s) && where(s) {
			take(s)
		}
	})
}

// windowed is a window by its place.
type windowed int

// holds says whether the event at hand is in the window.
func (w windowed) holds(s *state) bool {
	b := s.bounds[w]
	return s.event.Millis > b.after && s.event.Millis <= b.until
}

// window is the place of a window in which events of a type count; the selection covers it.
func (m *machine) window(event string, w window) windowed {
	number := indexOf(&m.types, event)
	if number == len(m.folds) {
		m.folds, m.lengths, m.reads = append(m.folds, nil), append(m.lengths, nil), append(m.reads, nil)
	}
	at := slices.IndexFunc(m.windows, func(other window) bool { return reflect.DeepEqual(w, other) })
	if at < 0 {
		at = len(m.windows)
		m.windows = append(m.windows, w)
	}
	indexOf(&m.reads[number], at)
	if w.lengthMillis > 0 {
		indexOf(&m.lengths[number], w.lengthMillis)
		slices.Sort(m.lengths[number])
	}
	return windowed(at)
}

// counting makes a function that counts the event at hand, which matches, into the tally.
func (m *machine) counting(a aggregate) func(*state, *tally) {
	switch a.function {
	case countDistinct:
		return m.countingDistinct(a.of)
	case firstValue, lastValue:
		return m.keeping(a)
	case average, minimum, maximum, sum:
		if a.of != nil {
			return m.adding(a)
		}
		return func(s *state, t *tally) { t.micros += s.event.ValueMicros }
	default:
		return func(s *state, t *tally) {
			if t.events == 0 || s.event.Millis < t.oldest {
				t.oldest = s.event.Millis
			}
			if t.events == 0 || s.event.Millis > t.newest {
				t.newest = s.event.Millis
			}
			t.events++
		}
	}
}

// adding counts a number of each event that has one. -0 is 0.
func (m *machine) adding(a aggregate) func(*state, *tally) {
	of := m.number(a.of)
	better := map[function]func(a, b float64) float64{minimum: math.Min, maximum: math.Max}[a.function]
	return func(s *state, t *tally) {
		x := of(s) + 0
		switch {
		case math.IsNaN(x):
			return
		case better == nil:
			t.sum.add(math.RoundToEven(min(max(x*1e6, -maxSummand), maxSummand)))
		case t.events == 0:
			t.number = x
		default:
			t.number = better(t.number, x)
		}
		t.events++
	}
}

// keeping keeps the first or the last value of events in order.
func (m *machine) keeping(a aggregate) func(*state, *tally) {
	m.inOrder = true
	keeping := m.keepingNumber
	if a.kind() == text {
		keeping = m.keepingText
	}
	keep := keeping(a.of)
	isFirst := a.function == firstValue
	return func(s *state, t *tally) {
		if isFirst && t.events > 0 {
			return
		}
		keep(s, t)
	}
}

func (m *machine) keepingText(v value) func(*state, *tally) {
	of := m.text(v)
	return func(s *state, t *tally) {
		if found, present := of(s); present {
			t.text = found
			t.events++
		}
	}
}

func (m *machine) keepingNumber(v value) func(*state, *tally) {
	of := m.number(v)
	return func(s *state, t *tally) {
		if x := of(s) + 0; !math.IsNaN(x) {
			t.number = x
			t.events++
		}
	}
}

// countingDistinct counts values; a property of unknown kind is the text and the number that the event has of it.
func (m *machine) countingDistinct(of value) func(*state, *tally) {
	var values []func(*state) (distinct, bool)
	if k := of.kind(); k == text || k == unknown {
		read := m.text(asKind(of, text))
		values = append(values, func(s *state) (distinct, bool) {
			found, present := read(s)
			return distinct{text: found}, present
		})
	}
	if of.kind() != text {
		read := m.number(asKind(of, number))
		values = append(values, func(s *state) (distinct, bool) {
			x := read(s) + 0
			return distinct{number: x, isNumber: true}, !math.IsNaN(x)
		})
	}
	return func(s *state, t *tally) {
		if t.distinct == nil {
			t.distinct = map[distinct]struct{}{}
		}
		for _, value := range values {
			if found, present := value(s); present {
				t.distinct[found] = struct{}{}
			}
		}
	}
}

// asKind is a value, as one of the two kinds if it is a property of unknown kind.
func asKind(v value, k kind) value {
	if f, isField := v.(field); isField && f.of == unknown {
		f.of = k
		return f
	}
	return v
}

// aggregateNumber makes a function of an aggregate that is no text.
func (m *machine) aggregateNumber(a aggregate) figure {
	at := m.tally(a)
	ofSome := func(read func(*state, *tally) float64) figure { // missing without an event
		return func(s *state) float64 {
			if t := &s.tallies[at]; t.events > 0 {
				return read(s, t)
			}
			return math.NaN()
		}
	}
	switch a.function {
	case sum:
		if a.of == nil {
			return func(s *state) float64 { return float64(s.tallies[at].micros) / 1e6 }
		}
		return func(s *state) float64 { return s.tallies[at].sum.float() / 1e6 }
	case average:
		return ofSome(func(_ *state, t *tally) float64 { return t.sum.float() / 1e6 / float64(t.events) })
	case minimum, maximum, firstValue, lastValue:
		return ofSome(func(_ *state, t *tally) float64 { return t.number })
	case last:
		return ofSome(func(_ *state, t *tally) float64 { return float64(t.newest) })
	case first:
		return ofSome(func(_ *state, t *tally) float64 { return float64(t.oldest) })
	case daysSince:
		return ofSome(func(s *state, t *tally) float64 { return float64((s.at - t.newest) / dayMillis) })
	case countDistinct:
		return func(s *state) float64 { return float64(len(s.tallies[at].distinct)) }
	default:
		return func(s *state) float64 { return float64(s.tallies[at].events) }
	}
}

// aggregateText makes a function of a first or last value that is a text.
func (m *machine) aggregateText(a aggregate) wording {
	at := m.tally(a)
	return func(s *state) (string, bool) { return s.tallies[at].text, s.tallies[at].events > 0 }
}

// exactSum is a sum of whole millionths, in 128 bits as in SQL, so that no order of adding matters.
type exactSum struct {
	high int64
	low  uint64
}

const two64 = 1 << 64

// add adds a whole number of at most maxSummand.
func (m *exactSum) add(x float64) {
	size := math.Abs(x)
	high := uint64(size / two64)
	low := uint64(size - float64(high)*two64)
	var carry uint64
	if x < 0 {
		m.low, carry = bits.Sub64(m.low, low, 0)
		m.high -= int64(high + carry)
		return
	}
	m.low, carry = bits.Add64(m.low, low, 0)
	m.high += int64(high + carry)
}

// float is the float64 nearest to the sum.
func (m exactSum) float() float64 {
	if m.high == int64(m.low)>>63 {
		return float64(int64(m.low))
	}
	exact := new(big.Int).Lsh(big.NewInt(m.high), 64)
	x, _ := new(big.Float).SetInt(exact.Add(exact, new(big.Int).SetUint64(m.low))).Float64()
	return x
}
