package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// anExpression is the text of a random condition; before is how many segments in_segment may name.
func anExpression(t *rapid.T, before int) string {
	return author{t, before}.condition(3)
}

// author writes random expressions: every construct of the language, well typed.
type author struct {
	*rapid.T
	segments int
}

func (a author) pick(options ...string) string { return rapid.SampledFrom(options).Draw(a.T, "pick") }

func (a author) condition(depth int) string {
	if depth == 0 {
		return a.leaf(1)
	}
	switch a.pick("leaf", "leaf", "and", "or", "not", "choice", "same", "paren") {
	case "and":
		return fmt.Sprintf("(%s && %s)", a.condition(depth-1), a.condition(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s || %s)", a.condition(depth-1), a.condition(depth-1), a.condition(depth-1))
	case "not":
		return "!" + a.condition(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.condition(depth-1), a.condition(depth-1), a.condition(depth-1))
	case "same":
		// a bare property is no condition beside ==
		return fmt.Sprintf("((%s || false) %s (%s || false))", a.condition(depth-1), a.pick("==", "!="), a.condition(depth-1))
	case "paren":
		return "(" + a.condition(depth-1) + ")"
	default:
		return a.leaf(depth)
	}
}

func (a author) comparison() string { return a.pick("==", "!=", "<", "<=", ">", ">=") }

// leaf is a condition of the user without && and ||.
func (a author) leaf(depth int) string {
	forms := []string{"number", "number", "number", "text", "moment", "span", "did", "did", "sequence", "sequence", "value", "in numbers", "in texts", "match", "has", "key in attr", "flag", "constant", "compared flag"}
	if a.segments > 0 {
		forms = append(forms, "member", "member")
	}
	switch a.pick(forms...) {
	case "number":
		return fmt.Sprintf("(%s %s %s)", a.number(depth), a.comparison(), a.number(depth-1))
	case "text":
		return fmt.Sprintf("(%s %s %s)", a.text(), a.comparison(), a.quoted(texts))
	case "moment":
		return fmt.Sprintf("(%s %s %s)", a.moment(depth), a.comparison(), a.moment(depth-1))
	case "span":
		return fmt.Sprintf("(%s %s %s)", a.span(depth), a.comparison(), a.span(depth-1))
	case "did":
		return a.aggregate("did", true)
	case "sequence":
		return a.sequence()
	case "value":
		return a.aggregate(a.pick("first_value", "last_value"), true, "prop["+a.quoted(keys)+"]")
	case "in numbers":
		return fmt.Sprintf("(%s in [%s])", a.number(depth-1), a.list(a.numberLiteral))
	case "in texts":
		return fmt.Sprintf("(%s in [%s])", a.text(), a.list(func() string { return a.quoted(texts) }))
	case "match":
		return fmt.Sprintf("%s.%s(%s)", a.text(), a.pick("startsWith", "endsWith", "contains"), a.quoted(texts))
	case "has":
		return "has(" + a.pick("attr.price", "attr.category", "rfm.r", "rfm.segment", "rfm.monetary", "profile.country") + ")"
	case "key in attr":
		return fmt.Sprintf("(%s in attr)", a.quoted(keys))
	case "flag":
		return fmt.Sprintf("attr[%s]", a.quoted(keys))
	case "compared flag":
		return fmt.Sprintf("(attr[%s] %s %s)", a.quoted(keys), a.pick("==", "!="), a.pick("true", "false"))
	case "member":
		return fmt.Sprintf(`in_segment("s%d")`, rapid.IntRange(0, a.segments-1).Draw(a.T, "segment"))
	default:
		return a.pick("true", "false")
	}
}

func (a author) quoted(from []string) string { return strconv.Quote(a.pick(from...)) }

func (a author) list(element func() string) string {
	elements := make([]string, rapid.IntRange(0, 3).Draw(a.T, "elements"))
	for i := range elements {
		elements[i] = element()
	}
	return strings.Join(elements, ", ")
}

func (a author) numberLiteral() string {
	x := rapid.SampledFrom(numbers).Draw(a.T, "number")
	if x == float64(int64(x)) && rapid.Bool().Draw(a.T, "int") {
		return strconv.FormatInt(int64(x), 10)
	}
	if rapid.IntRange(0, 4).Draw(a.T, "any") == 0 {
		x = rapid.Float64Range(-1e9, 1e9).Draw(a.T, "float")
	}
	return strconv.FormatFloat(x, 'e', -1, 64)
}

func (a author) number(depth int) string {
	forms := []string{"literal", "count", "sum", "summary", "summary", "count_distinct", "value", "days_since", "score", "cluster", "attr"}
	if depth > 0 {
		forms = append(forms, "arithmetic", "negative", "choice")
	}
	switch a.pick(forms...) {
	case "count":
		return a.aggregate("count", true)
	case "sum":
		return a.aggregate("sum", true)
	case "summary":
		return a.aggregate(a.pick("sum", "avg", "min", "max"), true, a.eventNumber())
	case "count_distinct":
		return a.aggregate("count_distinct", true, a.eventNumber())
	case "value":
		return "(" + a.aggregate(a.pick("first_value", "last_value"), true, a.eventNumber()) + " * 1.0)"
	case "days_since":
		return a.aggregate("days_since", false)
	case "score":
		return "rfm." + a.pick("r", "f", "m", "recency_days", "frequency", "monetary")
	case "cluster":
		return a.pick(`cluster("habits")`, `cluster("untrained")`)
	case "attr":
		// a property needs an operand of known type beside it
		return fmt.Sprintf("(attr[%s] * 1.0)", a.quoted(keys))
	case "arithmetic":
		return fmt.Sprintf("(%s %s %s)", a.number(depth-1), a.pick("+", "-", "*", "/"), a.number(depth-1))
	case "negative":
		return "-(" + a.number(depth-1) + ")"
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.condition(depth-1), a.number(depth-1), a.number(depth-1))
	default:
		return a.numberLiteral()
	}
}

func (a author) text() string {
	return a.pick("rfm.segment", "profile.country", a.aggregate(a.pick("first_value", "last_value"), true, "prop["+a.quoted(keys)+"]"), "attr["+a.quoted(keys)+"]", "attr.category", "attr[\"category\"]")
}

func (a author) moment(depth int) string {
	if depth > 0 && rapid.Bool().Draw(a.T, "shifted") {
		return fmt.Sprintf("(%s %s %s)", a.moment(depth-1), a.pick("+", "-"), a.span(depth-1))
	}
	return a.pick("now", a.aggregate("last", false), a.aggregate("first", false), `timestamp("2026-03-01T00:00:00Z")`, `timestamp("2026-02-28T23:59:59.999+02:00")`)
}

func (a author) span(depth int) string {
	if depth > 0 {
		switch a.pick("literal", "difference", "sum", "negative") {
		case "difference":
			return fmt.Sprintf("(%s - %s)", a.moment(depth-1), a.moment(depth-1))
		case "sum":
			return fmt.Sprintf("(%s + %s)", a.span(depth-1), a.span(depth-1))
		case "negative":
			return "-" + a.span(depth-1)
		}
	}
	return fmt.Sprintf("duration(%q)", a.pick("30d", "1h", "0s", "10s", "1ms", "-1h"))
}

// aggregate is a call of an aggregate in one of its forms.
func (a author) aggregate(function string, windowed bool, of ...string) string {
	args := append([]string{a.quoted(eventTypes)}, of...)
	if windowed && rapid.Bool().Draw(a.T, "windowed") {
		args = append(args, a.window())
	}
	if rapid.Bool().Draw(a.T, "filtered") {
		args = append(args, a.predicate(2))
	}
	return fmt.Sprintf("%s(%s)", function, strings.Join(args, ", "))
}

func (a author) window() string {
	return strconv.Quote(a.pick(slices.Concat(windows, calendarly, []string{"", "all"})...))
}

// eventNumber is a number of an event.
func (a author) eventNumber() string {
	return a.pick("value", "prop["+a.quoted(keys)+"]", "prop.price", "(value * prop.price)", "(value / prop.price)", "2.5")
}

// sequence is steps that often match something.
func (a author) sequence() string {
	var steps []string
	for i := range rapid.IntRange(1, 4).Draw(a.T, "steps") {
		form := a.pick("text", "text", "step", "without")
		if i == 0 && form != "text" {
			form = "step"
		}
		call := []string{a.quoted(eventTypes)}
		if form == "step" && i > 0 && rapid.Bool().Draw(a.T, "bounded") {
			call = append(call, a.quoted(windows))
		}
		if form != "text" && rapid.IntRange(0, 2).Draw(a.T, "filtered") == 0 {
			call = append(call, a.predicate(0))
		}
		switch form {
		case "text":
			steps = append(steps, call[0])
		default:
			steps = append(steps, form+"("+strings.Join(call, ", ")+")")
		}
	}
	if wait := a.pick("", "without(%s, %s)"); wait != "" && !strings.HasPrefix(steps[len(steps)-1], "without") {
		steps = append(steps, fmt.Sprintf(wait, a.quoted(eventTypes), a.quoted(windows)))
	}
	if rapid.Bool().Draw(a.T, "windowed") {
		return fmt.Sprintf("sequence([%s], %s)", strings.Join(steps, ", "), a.window())
	}
	return fmt.Sprintf("sequence([%s])", strings.Join(steps, ", "))
}

// predicate is a condition of an event.
func (a author) predicate(depth int) string {
	prop := "prop[" + a.quoted(keys) + "]"
	forms := []string{"text", "number", "value", "in", "match", "key", "flag"}
	if depth > 0 {
		forms = append(forms, "and", "or", "not", "choice")
	}
	switch a.pick(forms...) {
	case "text":
		return fmt.Sprintf("(%s %s %s)", prop, a.comparison(), a.quoted(texts))
	case "number":
		return fmt.Sprintf("(%s %s %s)", prop, a.comparison(), a.numberLiteral())
	case "value":
		return fmt.Sprintf("(value %s %s %s)", a.pick("* 2.0", "- 1", "/ prop.price", "+ prop.price"), a.comparison(), a.numberLiteral())
	case "in":
		return fmt.Sprintf("(%s in [%s, %s])", prop, a.quoted(texts), a.quoted(texts))
	case "match":
		return fmt.Sprintf("%s.%s(%s)", prop, a.pick("startsWith", "endsWith", "contains"), a.quoted(texts))
	case "key":
		return a.pick("has(prop.price)", "("+a.quoted(keys)+" in prop)")
	case "and":
		return fmt.Sprintf("(%s && %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "not":
		return "!" + a.predicate(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.predicate(depth-1), a.predicate(depth-1), a.predicate(depth-1))
	default:
		return prop
	}
}
