package expr

import (
	"math"
	"slices"
	"time"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// The machine implements ticking as the composer of the query does, and finds the same instants; 0 is never.

func (m *machine) turns(w window) {
	m.instants = append(m.instants, func(s *state) int64 { return w.calendar.begin(s.at, 1) })
}

func (m *machine) nextDay(a aggregate) {
	at := m.tally(a)
	m.instants = append(m.instants, func(s *state) int64 {
		t := &s.tallies[at]
		if t.events == 0 {
			return 0
		}
		return t.newest + ((s.at-t.newest)/dayMillis+1)*dayMillis
	})
}

func (m *machine) reachesDay(a aggregate, day int64) {
	at := m.tally(a)
	m.instants = append(m.instants, func(s *state) int64 {
		t := &s.tallies[at]
		if t.events == 0 {
			return 0
		}
		return t.newest + day*dayMillis
	})
}

func (m *machine) waits(q sequence) { m.instants = append(m.instants, m.waiting(q)) }

func (m *machine) meets(a, b value) {
	left, right, slopeLeft, slopeRight := m.number(a), m.number(b), m.slope(a), m.slope(b)
	m.instants = append(m.instants, func(s *state) int64 {
		meet := float64(s.at) - (left(s)-right(s))/(slopeLeft(s)-slopeRight(s))
		if meet > float64(s.at-1) && meet < endOfTime {
			return max(s.at+1, int64(math.Floor(meet)))
		}
		return 0
	})
}

// slope makes a function of how many milliseconds a time or span gains per millisecond of now.
func (m *machine) slope(v value) figure {
	switch v := v.(type) {
	case now:
		return func(*state) float64 { return 1 }
	case arithmetic:
		return calculates(v.op, m.slope(v.left), m.slope(v.right))
	case pick:
		test, then, otherwise := m.test(v.test), m.slope(v.then), m.slope(v.otherwise)
		return func(s *state) float64 {
			if test(s) {
				return then(s)
			}
			return otherwise(s)
		}
	default:
		return func(*state) float64 { return 0 }
	}
}

func (m *machine) ages(name string) {
	p := m.purchases()
	days, each := p.agingDays(name)
	m.instants = append(m.instants, func(s *state) int64 {
		if s.bought.events == 0 {
			return 0
		}
		recency := s.bought.values.RecencyDays
		next := recency + 1
		if !each {
			at := slices.IndexFunc(days, func(day int64) bool { return day > recency })
			if at < 0 {
				return 0
			}
			next = days[at]
		}
		if next >= recency+maxWindowMillis/dayMillis {
			return 0
		}
		if p.Config.Recency == rfm.Elapsed {
			return s.bought.last + next*dayMillis
		}
		year, month, day := time.UnixMilli(s.at).In(p.zone).Date()
		return max(s.at+1, dayBegin(year, month, day+int(next-recency), p.zone).UnixMilli())
	})
}
