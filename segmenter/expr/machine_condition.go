package expr

import (
	"fmt"
	"slices"
)

// test makes a function of a condition of the user or, inside a predicate, of the event at hand.
func (m *machine) test(c condition) test {
	switch c := c.(type) {
	case constant:
		return func(*state) bool { return c.value }
	case and:
		operands := m.tests(c.operands)
		return func(s *state) bool {
			for _, holds := range operands {
				if !holds(s) {
					return false
				}
			}
			return true
		}
	case or:
		operands := m.tests(c.operands)
		return func(s *state) bool {
			for _, holds := range operands {
				if holds(s) {
					return true
				}
			}
			return false
		}
	case not:
		holds := m.test(c.operand)
		return func(s *state) bool { return !holds(s) }
	case choice:
		test, then, otherwise := m.test(c.test), m.test(c.then), m.test(c.otherwise)
		return func(s *state) bool {
			if test(s) {
				return then(s)
			}
			return otherwise(s)
		}
	case same:
		left, right := m.test(c.left), m.test(c.right)
		return func(s *state) bool { return left(s) == right(s) }
	case comparison:
		if c.left.kind() == text {
			return m.comparedTexts(c)
		}
		left, right, holds := m.number(c.left), m.number(c.right), compares[float64](c.op)
		return func(s *state) bool { return holds(left(s), right(s)) }
	case oneOf:
		return m.oneOf(c)
	case match:
		subject := m.text(c.text)
		return func(s *state) bool {
			found, present := subject(s)
			return present && matches(c.how, found, c.part)
		}
	case present:
		return m.present(c.field)
	case member:
		unit := m.program.byID[c.segment]
		return func(s *state) bool { return s.in[unit] }
	case sequence:
		return m.sequence(c)
	default:
		panic(fmt.Sprintf("expr: no function for the condition %T", c))
	}
}

func (m *machine) tests(conditions []condition) []test {
	tests := make([]test, len(conditions))
	for i, c := range conditions {
		tests[i] = m.test(c)
	}
	return tests
}

// compares is an operator of which NaN, on either side, makes false.
func compares[T float64 | string](op operator) func(a, b T) bool {
	switch op {
	case equal:
		return func(a, b T) bool { return a == b }
	case notEqual:
		return func(a, b T) bool { return a < b || a > b }
	case less:
		return func(a, b T) bool { return a < b }
	case lessOrEqual:
		return func(a, b T) bool { return a <= b }
	case greater:
		return func(a, b T) bool { return a > b }
	default:
		return func(a, b T) bool { return a >= b }
	}
}

func (m *machine) comparedTexts(c comparison) test {
	left, right, holds := m.text(c.left), m.text(c.right), compares[string](c.op)
	return func(s *state) bool {
		a, present := left(s)
		if !present {
			return false
		}
		b, present := right(s)
		return present && holds(a, b)
	}
}

func (m *machine) oneOf(c oneOf) test {
	if len(c.list) == 0 {
		return func(*state) bool { return false }
	}
	if c.needle.kind() == text {
		needle, list := m.text(c.needle), make([]string, len(c.list))
		for i, l := range c.list {
			list[i] = l.text
		}
		return func(s *state) bool {
			found, present := needle(s)
			return present && slices.Contains(list, found)
		}
	}
	needle, list := m.number(c.needle), make([]float64, len(c.list))
	for i, l := range c.list {
		list[i] = l.number
	}
	return func(s *state) bool { return slices.Contains(list, needle(s)) } // nothing equals NaN
}
