package expr

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// History is all that is known of one user.
type History struct {
	User    audience.UserID
	Events  []audience.Event // in any order, each once
	Profile audience.Profile // zero without a profile
	Pins    []audience.Pin   // that stand, one a segment at most
	// Scores are the labels of k-means models; those of an RFM model follow from the events, see Program.Eval.
	Scores      map[audience.ModelID]audience.Score
	Percentiles map[string]float64          // by field of rfm, at the same time; see Program.Eval
	Memberships map[audience.SegmentID]bool // in the segments the expression refers to, at the same time; see Program.Eval
}

// Eval says whether the expression holds for a user at a time. It is the definition that the SQL and the machine are tested
// against: it looks at every event for every aggregate, and shares only the tree with them.
func (e *Expr) Eval(h History, at time.Time) bool {
	return evaluation{h, at.UnixMilli(), nil}.holds(e.root)
}

// evaluation looks at one user and, inside a predicate, at one event.
type evaluation struct {
	history  History
	atMillis int64
	event    *audience.Event
}

func (v evaluation) holds(c condition) bool {
	switch c := c.(type) {
	case constant:
		return c.value
	case and:
		for _, operand := range c.operands {
			if !v.holds(operand) {
				return false
			}
		}
		return true
	case or:
		for _, operand := range c.operands {
			if v.holds(operand) {
				return true
			}
		}
		return false
	case not:
		return !v.holds(c.operand)
	case choice:
		if v.holds(c.test) {
			return v.holds(c.then)
		}
		return v.holds(c.otherwise)
	case same:
		return v.holds(c.left) == v.holds(c.right)
	case comparison:
		return compare(c.op, v.of(c.left), v.of(c.right))
	case oneOf:
		needle := v.of(c.needle)
		for _, element := range c.list {
			if compare(equal, needle, v.of(element)) {
				return true
			}
		}
		return false
	case match:
		subject := v.of(c.text)
		return !subject.missing && matches(c.how, subject.text, c.part)
	case present:
		if c.field.of != unknown {
			return !v.of(c.field).missing
		}
		asText, asNumber := c.field, c.field
		asText.of, asNumber.of = text, number
		return !v.of(asText).missing || !v.of(asNumber).missing
	case member:
		return v.history.Memberships[c.segment]
	case sequence:
		return v.search(c).chain(0, 0) != nil
	default:
		panic(fmt.Sprintf("expr: cannot evaluate the condition %T", c))
	}
}

func matches(how matcher, s, part string) bool {
	switch how {
	case startsWith:
		return strings.HasPrefix(s, part)
	case endsWith:
		return strings.HasSuffix(s, part)
	default:
		return strings.Contains(s, part)
	}
}

// fact is a value found: a text or a number (of a moment or span: milliseconds), or missing.
type fact struct {
	missing bool
	isText  bool
	text    string
	number  float64
}

var nothing = fact{missing: true}

// numeric is a number as a fact; NaN is missing.
func numeric(x float64) fact { return fact{number: x, missing: math.IsNaN(x)} }

func textual(s string) fact { return fact{isText: true, text: s} }

func compare(op operator, a, b fact) bool {
	if a.missing || b.missing {
		return false
	}
	isLess, isEqual := a.number < b.number, a.number == b.number
	if a.isText {
		isLess, isEqual = a.text < b.text, a.text == b.text
	}
	switch op {
	case equal:
		return isEqual
	case notEqual:
		return !isEqual
	case less:
		return isLess
	case lessOrEqual:
		return isLess || isEqual
	case greater:
		return !isLess && !isEqual
	default:
		return !isLess
	}
}

// of finds a value.
func (v evaluation) of(val value) fact {
	switch val := val.(type) {
	case literal:
		if val.of == text {
			return textual(val.text)
		}
		return numeric(val.number)
	case now:
		return numeric(float64(v.atMillis))
	case field:
		return v.field(val)
	case aggregate:
		return v.aggregate(val)
	case arithmetic:
		return calculate(val.op, v.of(val.left), v.of(val.right))
	case pick:
		if v.holds(val.test) {
			return v.of(val.then)
		}
		return v.of(val.otherwise)
	default:
		panic(fmt.Sprintf("expr: cannot evaluate the value %T", val))
	}
}

func calculate(op byte, a, b fact) fact {
	if a.missing || b.missing {
		return nothing
	}
	switch op {
	case '+':
		return numeric(a.number + b.number)
	case '-':
		return numeric(a.number - b.number)
	case '*':
		return numeric(a.number * b.number)
	default:
		return numeric(a.number / b.number)
	}
}

func (v evaluation) field(f field) fact {
	switch f.from {
	case eventValue:
		return numeric(float64(v.event.ValueMicros) / 1e6)
	case ofEvent:
		return property(f, v.event.Texts, v.event.Numbers)
	case attribute:
		return property(f, v.history.Profile.Texts, v.history.Profile.Numbers)
	case ofProfile:
		return named(v.history.Profile.Country)
	default:
		if f.percentile {
			share, known := v.history.Percentiles[f.name]
			return fact{number: share, missing: !known}
		}
		return scored(f.name, v.history.Scores[f.model])
	}
}

func property(f field, texts map[string]string, numbers map[string]float64) fact {
	if f.of == text {
		s, found := texts[f.name]
		return fact{isText: true, text: s, missing: !found}
	}
	x, found := numbers[f.name]
	return fact{number: x, missing: !found}
}

// named is a text that is missing when empty.
func named(s string) fact { return fact{isText: true, text: s, missing: s == ""} }

// counted is a number that is missing when zero.
func counted(n uint16) fact { return fact{number: float64(n), missing: n == 0} }

// scored is a column of a score; the zero score is none.
func scored(column string, s audience.Score) fact {
	switch column {
	case "r":
		return counted(uint16(s.R))
	case "f":
		return counted(uint16(s.F))
	case "m":
		return counted(uint16(s.M))
	case "segment":
		return named(s.Segment)
	case "label":
		return counted(s.Label)
	}
	if s.R == 0 {
		return nothing
	}
	switch column {
	case "recency_days":
		return numeric(float64(s.RecencyDays))
	case "frequency":
		return numeric(float64(s.Frequency))
	default:
		return numeric(float64(s.MonetaryMicros) / 1e6)
	}
}
