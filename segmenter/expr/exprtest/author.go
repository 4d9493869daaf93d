package exprtest

import (
	"fmt"
	"strconv"
	"strings"
)

// Author writes random expressions: every construct of the language, well typed.
type Author struct {
	Vocabulary
	Draw
	Segments []string // ids that in_segment may name
}

// Condition is a condition of the user, nested to a depth at most.
func (a Author) Condition(depth int) string {
	if depth == 0 {
		return a.leaf(1)
	}
	switch a.pick("leaf", "leaf", "and", "or", "not", "choice", "same", "paren") {
	case "and":
		return fmt.Sprintf("(%s && %s)", a.Condition(depth-1), a.Condition(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s || %s)", a.Condition(depth-1), a.Condition(depth-1), a.Condition(depth-1))
	case "not":
		return "!" + a.Condition(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.Condition(depth-1), a.Condition(depth-1), a.Condition(depth-1))
	case "same":
		// a bare property is no condition beside ==
		return fmt.Sprintf("((%s || false) %s (%s || false))", a.Condition(depth-1), a.pick("==", "!="), a.Condition(depth-1))
	case "paren":
		return "(" + a.Condition(depth-1) + ")"
	default:
		return a.leaf(depth)
	}
}

func (a Author) pick(options ...string) string { return Pick(a.Draw, options) }

// maybe is true as often as not.
func (a Author) maybe() bool { return a.Draw(2) == 1 }

func (a Author) quoted(from []string) string { return strconv.Quote(a.pick(from...)) }

// event is the type of an event.
func (a Author) event() string { return a.quoted(a.EventTypes) }

func (a Author) comparison() string { return a.pick("==", "!=", "<", "<=", ">", ">=") }

// leaf is a condition of the user without && and ||.
func (a Author) leaf(depth int) string {
	forms := []string{"number", "number", "number", "text", "moment", "span", "did", "did", "sequence", "sequence", "value",
		"in numbers", "in texts", "match", "has", "key in attr", "flag", "constant", "compared flag"}
	if len(a.Segments) > 0 {
		forms = append(forms, "member", "member")
	}
	switch a.pick(forms...) {
	case "number":
		return fmt.Sprintf("(%s %s %s)", a.number(depth), a.comparison(), a.number(depth-1))
	case "text":
		return fmt.Sprintf("(%s %s %s)", a.text(), a.comparison(), a.quoted(a.Texts))
	case "moment":
		return fmt.Sprintf("(%s %s %s)", a.moment(depth), a.comparison(), a.moment(depth-1))
	case "span":
		return fmt.Sprintf("(%s %s %s)", a.span(depth), a.comparison(), a.span(depth-1))
	case "did":
		return a.aggregate("did", true)
	case "sequence":
		return a.sequence()
	case "value":
		return a.aggregate(a.pick("first_value", "last_value"), true, a.prop())
	case "in numbers":
		return fmt.Sprintf("(%s in [%s])", a.number(depth-1), a.list(a.numberLiteral))
	case "in texts":
		return fmt.Sprintf("(%s in [%s])", a.text(), a.list(func() string { return a.quoted(a.Texts) }))
	case "match":
		return a.match(a.text())
	case "has":
		return "has(" + a.pick("attr.price", "attr.category", "rfm.r", "rfm.segment", "rfm.monetary", "profile.country") + ")"
	case "key in attr":
		return fmt.Sprintf("(%s in attr)", a.quoted(a.Keys))
	case "flag":
		return a.attr()
	case "compared flag":
		return fmt.Sprintf("(%s %s %s)", a.attr(), a.pick("==", "!="), a.pick("true", "false"))
	case "member":
		return fmt.Sprintf("in_segment(%s)", a.quoted(a.Segments))
	default:
		return a.pick("true", "false")
	}
}

func (a Author) attr() string { return a.pick("attr.category", "attr["+a.quoted(a.Keys)+"]") }
func (a Author) prop() string { return a.pick("prop.price", "prop["+a.quoted(a.Keys)+"]") }

func (a Author) match(text string) string {
	return fmt.Sprintf("%s.%s(%s)", text, a.pick("startsWith", "endsWith", "contains"), a.quoted(a.Texts))
}

func (a Author) list(element func() string) string {
	elements := make([]string, a.Draw(4))
	for i := range elements {
		elements[i] = element()
	}
	return strings.Join(elements, ", ")
}

// text is a text of the user.
func (a Author) text() string {
	return a.pick("rfm.segment", "profile.country", a.aggregate(a.pick("first_value", "last_value"), true, a.prop()), a.attr(), a.attr())
}

// predicate is a condition of an event.
func (a Author) predicate(depth int) string {
	forms := []string{"text", "number", "value", "in", "match", "key", "flag"}
	if depth > 0 {
		forms = append(forms, "and", "or", "not", "choice")
	}
	switch a.pick(forms...) {
	case "text":
		return fmt.Sprintf("(%s %s %s)", a.prop(), a.comparison(), a.quoted(a.Texts))
	case "number":
		return fmt.Sprintf("(%s %s %s)", a.prop(), a.comparison(), a.numberLiteral())
	case "value":
		return fmt.Sprintf("(value %s %s %s)", a.pick("* 2.0", "- 1", "/ prop.price", "+ prop.price"), a.comparison(), a.numberLiteral())
	case "in":
		return fmt.Sprintf("(%s in [%s, %s])", a.prop(), a.quoted(a.Texts), a.quoted(a.Texts))
	case "match":
		return a.match(a.prop())
	case "key":
		return a.pick("has(prop.price)", "("+a.quoted(a.Keys)+" in prop)")
	case "and":
		return fmt.Sprintf("(%s && %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "not":
		return "!" + a.predicate(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.predicate(depth-1), a.predicate(depth-1), a.predicate(depth-1))
	default:
		return a.prop()
	}
}
