package expr

import (
	"fmt"
	"math"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// number makes a function of a value that is no text.
func (m *machine) number(v value) figure {
	switch v := v.(type) {
	case literal:
		return func(*state) float64 { return v.number }
	case now:
		return func(s *state) float64 { return float64(s.at) }
	case field:
		return m.numberField(v)
	case aggregate:
		return m.aggregateNumber(v)
	case arithmetic:
		return calculates(v.op, m.number(v.left), m.number(v.right))
	case pick:
		test, then, otherwise := m.test(v.test), m.number(v.then), m.number(v.otherwise)
		return func(s *state) float64 {
			if test(s) {
				return then(s)
			}
			return otherwise(s)
		}
	default:
		panic(fmt.Sprintf("expr: no function for the value %T", v))
	}
}

func calculates(op byte, left, right figure) figure {
	switch op {
	case '+':
		return func(s *state) float64 { return left(s) + right(s) }
	case '-':
		return func(s *state) float64 { return left(s) - right(s) }
	case '*':
		return func(s *state) float64 { return left(s) * right(s) }
	default:
		return func(s *state) float64 { return left(s) / right(s) }
	}
}

func (m *machine) numberField(f field) figure {
	switch f.from {
	case eventValue:
		return func(s *state) float64 { return float64(s.event.ValueMicros) / 1e6 }
	case ofEvent:
		i := indexOf(&m.numbers, f.name)
		return func(s *state) float64 { return s.event.Numbers[i] }
	case attribute:
		m.attributes = true
		return func(s *state) float64 {
			if x, found := s.Profile.Numbers[f.name]; found {
				return x
			}
			return math.NaN()
		}
	default:
		if f.name == "label" {
			return m.label(f.model)
		}
		return m.rfmNumber(f)
	}
}

// label is the number of the user's cluster in a model. Without a trained version nobody has one.
func (m *machine) label(model audience.ModelID) figure {
	if m.program.scores[model].Version == 0 {
		return func(*state) float64 { return math.NaN() }
	}
	i := indexOf(&m.clusters, model)
	return func(s *state) float64 {
		if label := s.Scores[i].Label; label > 0 {
			return float64(label)
		}
		return math.NaN()
	}
}

// text makes a function of a text.
func (m *machine) text(v value) wording {
	switch v := v.(type) {
	case literal:
		return func(*state) (string, bool) { return v.text, true }
	case aggregate:
		return m.aggregateText(v)
	case field:
		return m.textField(v)
	default:
		panic(fmt.Sprintf("expr: no function for the text %T", v))
	}
}

func (m *machine) textField(f field) wording {
	switch f.from {
	case ofEvent:
		i := indexOf(&m.texts, f.name)
		return func(s *state) (string, bool) {
			if property := s.event.Texts[i]; property != nil {
				return *property, true
			}
			return "", false
		}
	case attribute:
		m.attributes = true
		return func(s *state) (string, bool) {
			property, found := s.Profile.Texts[f.name]
			return property, found
		}
	case ofProfile:
		m.country = true
		return func(s *state) (string, bool) { return s.Profile.Country, s.Profile.Country != "" }
	default:
		return m.rfmSegment()
	}
}

// present makes a function that says whether a field has a value. A property of unknown kind has one as a text or as a number.
func (m *machine) present(f field) test {
	if f.of == unknown {
		asText, asNumber := f, f
		asText.of, asNumber.of = text, number
		hasText, hasNumber := m.present(asText), m.present(asNumber)
		return func(s *state) bool { return hasText(s) || hasNumber(s) }
	}
	if f.from == score && f.name != "label" {
		return m.hasBought()
	}
	if f.of == text {
		of := m.text(f)
		return func(s *state) bool {
			_, present := of(s)
			return present
		}
	}
	of := m.number(f)
	return func(s *state) bool { return !math.IsNaN(of(s)) }
}

// indexOf is the place of an element in a list, to which it is added if need be.
func indexOf[T comparable](list *[]T, element T) int {
	at := slices.Index(*list, element)
	if at < 0 {
		at = len(*list)
		*list = append(*list, element)
	}
	return at
}
