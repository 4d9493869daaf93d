package expr

import (
	"math"
	"slices"
)

// ticking is told of everything in conditions that changes with time alone. Events that leave a window or are dated in the future,
// and pins that end, are not part of conditions and are dealt with elsewhere.
type ticking interface {
	turns(w window)                    // of the calendar: into the next one
	nextDay(a aggregate)               // days_since becomes another number
	reachesDay(a aggregate, day int64) // days_since becomes this number
	ages(name string)                  // recency becomes a number of days that matters to the RFM field
	meets(a, b value)                  // two times, or spans, of which one moves with now, meet
	waits(s sequence)                  // the wait at the end of a sequence is over
}

// passage walks conditions and tells what time changes.
type passage struct {
	program *Program
	ticking
}

func (p passage) condition(c condition) {
	switch c := c.(type) {
	case and:
		p.conditions(c.operands...)
	case or:
		p.conditions(c.operands...)
	case not:
		p.condition(c.operand)
	case choice:
		p.conditions(c.test, c.then, c.otherwise)
	case same:
		p.conditions(c.left, c.right)
	case comparison:
		if !p.daysAgainst(c.left, c.right) && !p.daysAgainst(c.right, c.left) {
			p.value(c.left)
			p.value(c.right)
			p.meeting(c.left, c.right)
		}
	case oneOf:
		p.value(c.needle)
		for _, element := range c.list {
			p.meeting(c.needle, element)
		}
	case match:
		p.value(c.text)
	case present:
		p.value(c.field)
	case sequence:
		p.turn(c.window)
		if c.wait > 0 {
			p.waits(c)
		}
	}
}

func (p passage) conditions(all ...condition) {
	for _, c := range all {
		p.condition(c)
	}
}

func (p passage) turn(w window) {
	if w.calendar.unit != "" {
		p.turns(w)
	}
}

func (p passage) value(v value) {
	switch v := v.(type) {
	case aggregate:
		p.turn(v.window)
		if v.function == daysSince {
			p.nextDay(v)
		}
	case field:
		if v.from == score && p.program.scores[rfmModel].RFM != nil && slices.Contains([]string{"r", "segment", "recency_days"}, v.name) {
			p.ages(v.name)
		}
	case arithmetic:
		p.value(v.left)
		p.value(v.right)
	case pick:
		p.condition(v.test)
		p.value(v.then)
		p.value(v.otherwise)
	}
}

// daysAgainst handles days_since beside a constant, of which only the days around the constant matter, and reports whether it did.
func (p passage) daysAgainst(days, threshold value) bool {
	a, isAggregate := days.(aggregate)
	l, isLiteral := threshold.(literal)
	if !isAggregate || !isLiteral || a.function != daysSince {
		return false
	}
	for _, day := range slices.Compact([]float64{math.Ceil(l.number), math.Floor(l.number) + 1}) {
		if day > 0 && day <= float64(maxWindowMillis/dayMillis) {
			p.reachesDay(a, int64(day))
		}
	}
	return true
}

// meeting handles two times, or spans, whose difference is linear in now.
func (p passage) meeting(a, b value) {
	if (a.kind() == moment || a.kind() == span) && (moves(a) || moves(b)) {
		p.meets(a, b)
	}
}

// endOfTime is after every instant, in milliseconds, and before the infinity at which those meet that move alike.
const endOfTime = 1e15

// moves says whether now is part of the value.
func moves(v value) bool {
	switch v := v.(type) {
	case now:
		return true
	case arithmetic:
		return moves(v.left) || moves(v.right)
	case pick:
		return moves(v.then) || moves(v.otherwise)
	default:
		return false
	}
}

// agingDays are the numbers of days that recency becomes before the RFM field changes; with each is true, every day is one.
func (r *RFM) agingDays(name string) (days []int64, each bool) {
	if name == "recency_days" {
		return nil, true
	}
	for _, bound := range r.Model.Recency.Bounds {
		if bound.Key != "" { // on that day the user's id decides
			days = append(days, max(bound.Value, 0))
		}
		days = append(days, max(bound.Value, 0)+1)
	}
	slices.Sort(days)
	return slices.Compact(days), false
}
