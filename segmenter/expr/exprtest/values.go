package exprtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (a Author) numberLiteral() string {
	x := Pick(a.Draw, a.Numbers)
	if x == float64(int64(x)) && a.maybe() {
		return strconv.FormatInt(int64(x), 10)
	}
	if a.Draw(5) == 0 {
		x = float64(a.Draw(2_000_000_001)-1_000_000_000) / 1000
	}
	return strconv.FormatFloat(x, 'e', -1, 64)
}

// number is a number of the user.
func (a Author) number(depth int) string {
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
		return a.pick("rfm.r", "rfm.f", "rfm.m", "rfm.recency_days", "rfm.frequency", "rfm.monetary",
			"percentile(rfm.recency_days)", "percentile(rfm.frequency)", "percentile(rfm.monetary)")
	case "cluster":
		return fmt.Sprintf("cluster(%s)", a.quoted(a.Clusters))
	case "attr": // a property needs an operand of known type beside it
		return fmt.Sprintf("(%s * 1.0)", a.attr())
	case "arithmetic":
		return fmt.Sprintf("(%s %s %s)", a.number(depth-1), a.pick("+", "-", "*", "/"), a.number(depth-1))
	case "negative":
		return "-(" + a.number(depth-1) + ")"
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.Condition(depth-1), a.number(depth-1), a.number(depth-1))
	default:
		return a.numberLiteral()
	}
}

// eventNumber is a number of an event.
func (a Author) eventNumber() string {
	return a.pick("value", a.prop(), "prop.price", "(value * prop.price)", "(value / prop.price)", "2.5")
}

// moment is a point in time.
func (a Author) moment(depth int) string {
	if depth > 0 {
		switch a.pick("fact", "fact", "later", "earlier", "span before", "choice") {
		case "later":
			return fmt.Sprintf("(%s + %s)", a.moment(depth-1), a.span(depth-1))
		case "earlier":
			return fmt.Sprintf("(%s - %s)", a.moment(depth-1), a.span(depth-1))
		case "span before":
			return fmt.Sprintf("(%s + %s)", a.span(depth-1), a.moment(depth-1))
		case "choice":
			return fmt.Sprintf("(%s ? %s : %s)", a.Condition(0), a.moment(depth-1), a.moment(depth-1))
		}
	}
	return a.pick("now", a.aggregate("last", false), a.aggregate("first", false), `timestamp("2026-03-01T00:00:00Z")`, `timestamp("2026-02-28T23:59:59.999+02:00")`)
}

// span is a length of time.
func (a Author) span(depth int) string {
	if depth > 0 {
		switch a.pick("literal", "difference", "sum", "rest", "negative", "choice") {
		case "difference":
			return fmt.Sprintf("(%s - %s)", a.moment(depth-1), a.moment(depth-1))
		case "sum":
			return fmt.Sprintf("(%s + %s)", a.span(depth-1), a.span(depth-1))
		case "rest":
			return fmt.Sprintf("(%s - %s)", a.span(depth-1), a.span(depth-1))
		case "negative":
			return "-" + a.span(depth-1)
		case "choice":
			return fmt.Sprintf("(%s ? %s : %s)", a.Condition(0), a.span(depth-1), a.span(depth-1))
		}
	}
	return fmt.Sprintf("duration(%q)", a.pick(append([]string{"0s", "1ms", "-1h", "1h30m"}, a.Lengths...)...))
}

// aggregate is a call of an aggregate in one of its forms.
func (a Author) aggregate(function string, windowed bool, of ...string) string {
	args := append([]string{a.event()}, of...)
	if windowed && a.maybe() {
		args = append(args, a.window())
	}
	if a.maybe() {
		args = append(args, a.predicate(2))
	}
	return fmt.Sprintf("%s(%s)", function, strings.Join(args, ", "))
}

// calendars are the windows of the calendar.
var calendars = []string{"today", "yesterday", "this week", "last week", "this month", "last month", "this year", "last year"}

func (a Author) window() string {
	of := a.pick(calendars...)
	if a.maybe() {
		of += " in " + a.pick(a.Zones...)
	}
	return strconv.Quote(a.pick(slices.Concat(a.Lengths, []string{of, of, of, of, "", "all"})...))
}

// sequence is steps that often match something.
func (a Author) sequence() string {
	steps := []string{a.first()}
	for range a.Draw(4) {
		form := a.pick("text", "text", "step", "without")
		var bounds []string
		if form == "step" && a.maybe() {
			bounds = append(bounds, a.quoted(a.Lengths))
		}
		steps = append(steps, a.step(form, bounds...))
	}
	if a.maybe() && !strings.HasPrefix(steps[len(steps)-1], "without") {
		steps = append(steps, a.step("without", a.quoted(a.Lengths)))
	}
	if a.maybe() {
		return fmt.Sprintf("sequence([%s], %s)", strings.Join(steps, ", "), a.window())
	}
	return fmt.Sprintf("sequence([%s])", strings.Join(steps, ", "))
}

// first is the first step of a sequence.
func (a Author) first() string { return a.step(a.pick("text", "text", "step")) }

// step is a step of a sequence.
func (a Author) step(form string, bounds ...string) string {
	if form == "text" {
		return a.event()
	}
	args := append([]string{a.event()}, bounds...)
	if a.Draw(3) == 0 {
		args = append(args, a.predicate(0))
	}
	return fmt.Sprintf("%s(%s)", form, strings.Join(args, ", "))
}
