package expr

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// textOf writes a condition as an expression of the same meaning.
func textOf(c condition) string {
	switch c := c.(type) {
	case constant:
		return strconv.FormatBool(c.value)
	case and:
		return joinedText(c.operands, " && ")
	case or:
		return joinedText(c.operands, " || ")
	case not:
		return "!(" + textOf(c.operand) + ")"
	case choice:
		return fmt.Sprintf("(%s ? %s : %s)", textOf(c.test), textOf(c.then), textOf(c.otherwise))
	case same:
		return fmt.Sprintf("(%s) == (%s)", textOf(c.left), textOf(c.right))
	case comparison:
		if events, isAggregate := c.left.(aggregate); isAggregate && events.function == count && c.op == greater && c.right == (literal{of: number}) {
			return callText("did", events.eventMatch, "", events.window.text())
		}
		return fmt.Sprintf("%s %s %s", valueText(c.left), c.op, valueText(c.right))
	case oneOf:
		list := make([]string, len(c.list))
		for i, l := range c.list {
			list[i] = valueText(l)
		}
		return fmt.Sprintf("%s in [%s]", valueText(c.needle), strings.Join(list, ", "))
	case match:
		return fmt.Sprintf("%s.%s(%q)", valueText(c.text), c.how, c.part)
	case present:
		if record := openRecords[c.field.from]; record != "" {
			return fmt.Sprintf("%q in %s", c.field.name, record)
		}
		return "has(" + valueText(c.field) + ")"
	case member:
		return fmt.Sprintf("in_segment(%q)", c.segment)
	case sequence:
		return sequenceText(c)
	default:
		panic(fmt.Sprintf("expr: no text for the condition %T", c))
	}
}

func joinedText(operands []condition, by string) string {
	texts := make([]string, len(operands))
	for i, o := range operands {
		texts[i] = textOf(o)
	}
	return "(" + strings.Join(texts, by) + ")"
}

// valueText writes a value as an expression of the same meaning.
func valueText(v value) string {
	switch v := v.(type) {
	case literal:
		return literalText(v)
	case now:
		return "now"
	case field:
		return fieldText(v)
	case aggregate:
		what := ""
		if v.of != nil {
			what = valueText(v.of)
		}
		return callText(string(v.function), v.eventMatch, what, v.window.text())
	case arithmetic:
		return fmt.Sprintf("(%s %c %s)", valueText(v.left), v.op, valueText(v.right))
	case pick:
		return fmt.Sprintf("(%s ? %s : %s)", textOf(v.test), valueText(v.then), valueText(v.otherwise))
	default:
		panic(fmt.Sprintf("expr: no text for the value %T", v))
	}
}

// openRecords are the records with entries of any name.
var openRecords = map[source]string{ofEvent: "prop", attribute: "attr"}

func fieldText(f field) string {
	switch record := openRecords[f.from]; {
	case record != "":
		return fmt.Sprintf("%s[%q]", record, f.name)
	case f.from == eventValue:
		return "value"
	case f.from == ofProfile:
		return "profile." + f.name
	case f.name == "label":
		return fmt.Sprintf("cluster(%q)", f.model)
	case f.percentile:
		return "percentile(rfm." + f.name + ")"
	default:
		return "rfm." + f.name
	}
}

func literalText(l literal) string {
	switch l.of {
	case text:
		return strconv.Quote(l.text)
	case moment:
		return fmt.Sprintf("timestamp(%q)", time.UnixMilli(int64(l.number)).UTC().Format(time.RFC3339Nano))
	case span:
		return fmt.Sprintf("duration(%q)", time.Duration(l.number)*time.Millisecond)
	default:
		return strconv.FormatFloat(l.number, 'g', -1, 64)
	}
}

// callText writes a function of events; what and the window may be "".
func callText(function string, m eventMatch, what, window string) string {
	args := []string{strconv.Quote(m.event)}
	if what != "" {
		args = append(args, what)
	}
	if window != "" {
		args = append(args, strconv.Quote(window))
	}
	if m.where != nil {
		args = append(args, textOf(m.where))
	}
	return function + "(" + strings.Join(args, ", ") + ")"
}

func sequenceText(s sequence) string {
	var steps []string
	without := func(matches []eventMatch, wait string) {
		for _, m := range matches {
			steps = append(steps, callText("without", m, "", wait))
		}
	}
	for _, step := range s.steps {
		without(step.without, "")
		steps = append(steps, callText("step", step.eventMatch, "", lengthText(step.within)))
	}
	without(s.never, lengthText(s.wait))
	if s.window.all() {
		return "sequence([" + strings.Join(steps, ", ") + "])"
	}
	return fmt.Sprintf("sequence([%s], %q)", strings.Join(steps, ", "), s.window.text())
}

// text is the window as it is written; "" is all history.
func (w window) text() string {
	for name, c := range calendars {
		if c.unit == w.calendar.unit && c.back == w.calendar.back && w.calendar.zone == time.UTC {
			return name
		} else if c.unit == w.calendar.unit && c.back == w.calendar.back {
			return name + " in " + w.calendar.zone.String()
		}
	}
	return lengthText(w.lengthMillis)
}

// lengthText writes a length of time in its largest whole unit; "" is none.
func lengthText(millis int64) string {
	for _, unit := range []byte("dhms") {
		if millis > 0 && millis%unitMillis[unit] == 0 {
			return strconv.FormatInt(millis/unitMillis[unit], 10) + string(unit)
		}
	}
	return ""
}
