package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// writer writes conditions as SQL of 0 or 1 and values as Float64, where a missing value is NaN: every comparison with it is false by itself.
// Texts are String, ” when missing, with a condition of their own that they are present.
// Each operand is written once, however deep: SQL grows with the expression and no faster.
type writer struct {
	*composer
	inEvent bool // columns are those of events rather than of the aggregated user
}

func (c *composer) ofUser() writer  { return writer{composer: c} }
func (c *composer) ofEvent() writer { return writer{composer: c, inEvent: true} }

func (w writer) condition(c condition) string {
	switch c := c.(type) {
	case constant:
		if c.value {
			return "1"
		}
		return "0"
	case and:
		return w.joined(c.operands, " AND ")
	case or:
		return w.joined(c.operands, " OR ")
	case not:
		return "not(" + w.condition(c.operand) + ")"
	case choice:
		return fmt.Sprintf("if(%s, %s, %s)", w.condition(c.test), w.condition(c.then), w.condition(c.otherwise))
	case same:
		return fmt.Sprintf("(%s = %s)", w.condition(c.left), w.condition(c.right))
	case comparison:
		if c.left.kind() == text {
			return w.comparedTexts(c)
		}
		return w.comparedNumbers(c)
	case oneOf:
		return w.oneOf(c)
	case match:
		return w.match(c)
	case present:
		return w.present(c.field)
	case member:
		return alias(w.program.byID[c.segment])
	case sequence:
		return w.sequence(c)
	default:
		panic(fmt.Sprintf("expr: no SQL for the condition %T", c))
	}
}

func (w writer) joined(operands []condition, by string) string {
	written := make([]string, len(operands))
	for i, operand := range operands {
		written[i] = w.condition(operand)
	}
	return "(" + strings.Join(written, by) + ")"
}

func (w writer) comparedNumbers(c comparison) string {
	if sql, asks := w.happened(c); asks {
		return sql
	}
	left, right := w.number(c.left), w.number(c.right)
	switch c.op {
	case notEqual: // NaN != x would be true
		return fmt.Sprintf("(abs(%s - %s) > 0)", left, right)
	case equal:
		return fmt.Sprintf("(%s = %s)", left, right)
	default:
		return fmt.Sprintf("(%s %s %s)", left, c.op, right)
	}
}

// comparedTexts asks whether a field is present unless equality with a text that is not empty says so.
func (w writer) comparedTexts(c comparison) string {
	op := string(c.op)
	if c.op == equal {
		op = "="
	}
	compared := fmt.Sprintf("(%s %s %s", w.text(c.left), op, w.text(c.right))
	for _, pair := range [][2]value{{c.left, c.right}, {c.right, c.left}} {
		other, isConstant := pair[1].(literal)
		impliesPresence := c.op == equal && isConstant && other.text != ""
		if !impliesPresence {
			compared += w.andPresent(pair[0])
		}
	}
	return compared + ")"
}

func (w writer) oneOf(c oneOf) string {
	if len(c.list) == 0 {
		return "0"
	}
	if c.needle.kind() == text {
		texts := make([]string, len(c.list))
		for i, l := range c.list {
			texts[i] = l.text
		}
		among := fmt.Sprintf("(%s IN %s", w.text(c.needle), w.textList(texts))
		if slices.Contains(texts, "") {
			among += w.andPresent(c.needle)
		}
		return among + ")"
	}
	numbers := make([]string, len(c.list))
	for i, l := range c.list {
		numbers[i] = float(l.number + 0)
	}
	// IN compares bits: adding 0 turns -0 into 0 on both sides.
	return fmt.Sprintf("(%s + 0 IN (%s))", w.number(c.needle), strings.Join(numbers, ", "))
}

func (w writer) match(c match) string {
	subject, part := w.text(c.text), w.composer.text(c.part)
	found := fmt.Sprintf("(%s(%s, %s)", c.how, subject, part)
	if c.how == contains {
		found = fmt.Sprintf("(position(%s, %s) > 0", subject, part)
	}
	if c.part == "" {
		found += w.andPresent(c.text)
	}
	return found + ")"
}

// number writes a value that is no text.
func (w writer) number(v value) string {
	switch v := v.(type) {
	case literal:
		return float(v.number)
	case now:
		return float(float64(w.atMillis))
	case field:
		return w.numberField(v)
	case aggregate:
		return w.aggregateNumber(v)
	case arithmetic:
		return fmt.Sprintf("(%s %c %s)", w.number(v.left), v.op, w.number(v.right))
	case pick:
		return fmt.Sprintf("if(%s, %s, %s)", w.condition(v.test), w.number(v.then), w.number(v.otherwise))
	default:
		panic(fmt.Sprintf("expr: no SQL for the value %T", v))
	}
}

func (w writer) numberField(f field) string {
	switch f.from {
	case eventValue:
		return "(value_micros / 1e6)"
	case ofEvent:
		key := w.composer.text(f.name)
		return fmt.Sprintf("if(mapContains(numbers, %s), numbers[%s], nan)", key, key)
	case attribute:
		key := w.composer.text(f.name)
		return fmt.Sprintf("if(%s, %s, nan)", w.profile("mapContains(numbers, "+key+")"), w.profile("numbers["+key+"]"))
	default:
		if f.name != "label" {
			return w.rfmField(f)
		}
		label := w.label(f.model)
		return fmt.Sprintf("if(%s > 0, toFloat64(%s), nan)", label, label)
	}
}

// text writes a text; a missing one is ”.
func (w writer) text(v value) string {
	f, isField := v.(field)
	if a, isAggregate := v.(aggregate); isAggregate {
		return w.summary(a)
	}
	if !isField {
		return w.composer.text(v.(literal).text)
	}
	switch f.from {
	case ofEvent:
		return "texts[" + w.composer.text(f.name) + "]"
	case attribute:
		return w.profile("texts[" + w.composer.text(f.name) + "]")
	case ofProfile:
		return w.profile("country")
	default:
		return w.rfmField(f)
	}
}

// andPresent writes " AND …" that a text has a value; a constant always has.
func (w writer) andPresent(v value) string {
	switch v := v.(type) {
	case field:
		return " AND " + w.present(v)
	case aggregate:
		return fmt.Sprintf(" AND (%s > 0)", w.having(v))
	default:
		return ""
	}
}

// present writes that a field has a value. A property of unknown kind has one as a text or as a number.
func (w writer) present(f field) string {
	switch {
	case f.from == ofProfile:
		return fmt.Sprintf("(%s != '')", w.text(f))
	case f.from == score && f.name == "label":
		return fmt.Sprintf("(%s > 0)", w.label(f.model))
	case f.from == score && w.rfm() == nil:
		return "0"
	case f.from == score:
		return w.bought()
	}
	key := w.composer.text(f.name)
	in := map[kind][]string{text: {"texts"}, number: {"numbers"}, unknown: {"texts", "numbers"}}[f.of]
	parts := make([]string, len(in))
	for i, properties := range in {
		parts[i] = fmt.Sprintf("mapContains(%s, %s)", properties, key)
		if f.from == attribute {
			parts[i] = w.profile(parts[i])
		}
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// float writes a finite number as a Float64 literal; a negative one in parentheses, since "- -1" could become a comment.
func float(x float64) string {
	s := strconv.FormatFloat(x, 'e', -1, 64)
	if strings.HasPrefix(s, "-") {
		return "(" + s + ")"
	}
	return s
}
