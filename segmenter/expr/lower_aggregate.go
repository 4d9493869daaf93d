package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/kohorta/kohorta/internal/audience"
)

// aggregate lowers function(type, what, window, predicate). The last two may be left out; functions that count events or sum their
// values have no what. want is the kind that the context needs.
func (l *lowering) aggregate(e ast.Expr, f function, args []ast.Expr, want kind) (value, error) {
	if err := l.needUser(e, "an aggregate"); err != nil {
		return nil, err
	}
	event, err := l.eventType(args[0])
	if err != nil {
		return nil, err
	}
	a := aggregate{function: f, eventMatch: eventMatch{event: event}}
	args = args[1:]
	if of, summarises := l.summarised(f, args, want); summarises {
		if a.of, err = l.ofEvent(args[0], of); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	for _, arg := range args {
		if l.kindOf(arg) == text {
			a.window, err = l.window(arg)
		} else {
			a.where, err = l.predicate(arg)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// summarised says whether the first argument after the type is what the function summarises, and of which kind.
func (l *lowering) summarised(f function, args []ast.Expr, want kind) (of kind, summarises bool) {
	switch f {
	case average, minimum, maximum:
		return number, true
	case firstValue, lastValue:
		return want, true
	case countDistinct:
		return l.kindOf(args[0]), true // both kinds of a property
	case sum:
		return number, len(args) > 0 && (l.kindOf(args[0]) == number || l.kindOf(args[0]) == unknown)
	default:
		return unknown, false
	}
}

func (l *lowering) eventType(e ast.Expr) (string, error) {
	event, err := l.constant(e, "the type of the event")
	if err != nil {
		return "", err
	}
	if event == "" || len(event) > audience.MaxEventTypeBytes {
		return "", l.errorAt(e, `for example "purchase"`, "an event type has 1 to %d bytes", audience.MaxEventTypeBytes)
	}
	l.mention(e, anEvent, event)
	return event, nil
}

// ofEvent lowers a value of the event at hand.
func (l *lowering) ofEvent(e ast.Expr, of kind) (value, error) {
	l.inEvent = true
	defer func() { l.inEvent = false }()
	return l.value(e, of)
}

// predicate lowers a condition of the event at hand.
func (l *lowering) predicate(e ast.Expr) (condition, error) {
	l.inEvent = true
	defer func() { l.inEvent = false }()
	return l.condition(e)
}

func (l *lowering) window(e ast.Expr) (window, error) {
	source, err := l.constant(e, "the window")
	if err != nil {
		return window{}, err
	}
	w, err := parseWindow(source)
	if err != nil {
		return window{}, l.errorAt(e, windowHint, "%s", err)
	}
	return w, nil
}

// maxSteps bounds the steps of a sequence, including those it must do without.
const maxSteps = 10

// sequence lowers sequence([…], window).
func (l *lowering) sequence(e ast.Expr, args []ast.Expr) (condition, error) {
	if err := l.needUser(e, "a sequence"); err != nil {
		return nil, err
	}
	var s sequence
	var err error
	if len(args) > 1 {
		if s.window, err = l.window(args[1]); err != nil {
			return nil, err
		}
	}
	if args[0].Kind() != ast.ListKind {
		return nil, l.errorAt(args[0], usage["sequence"], "the steps must be a list that is written out")
	}
	elements := args[0].AsList().Elements()
	if len(elements) > maxSteps {
		return nil, l.errorAt(args[0], "split it into segments joined by in_segment", "a sequence has at most %d steps, not %d", maxSteps, len(elements))
	}
	for i, element := range elements {
		if err := l.step(&s, element, i == len(elements)-1); err != nil {
			return nil, err
		}
	}
	if len(s.steps) == 0 {
		return nil, l.errorAt(args[0], usage["sequence"], "a sequence has at least one step")
	}
	return s, nil
}

// step lowers "type", step(type, within, predicate) or without(type, wait, predicate) as the next step.
func (l *lowering) step(s *sequence, e ast.Expr, isLast bool) error {
	name, args := "step", []ast.Expr{e}
	if e.Kind() == ast.CallKind {
		name, args = e.AsCall().FunctionName(), e.AsCall().Args()
	}
	if name != "step" && name != "without" || e.Kind() == ast.LiteralKind && e.AsLiteral().Type() != types.StringType {
		return l.errorAt(e, usage["sequence"], "a step is the type of an event, step(…) or without(…)")
	}
	var match eventMatch
	var span int64
	var err error
	if match.event, err = l.eventType(args[0]); err != nil {
		return err
	}
	for _, arg := range args[1:] {
		if l.kindOf(arg) == text {
			span, err = l.length(arg)
		} else {
			match.where, err = l.predicate(arg)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case name == "step" && span > 0 && len(s.steps) == 0:
		return l.errorAt(e, "the window of the sequence bounds it", "the first step comes after nothing")
	case name == "step":
		s.steps = append(s.steps, step{eventMatch: match, within: span, without: s.never})
		s.never = nil
	case len(s.steps) == 0:
		return l.errorAt(e, `write !did("purchase", "7d") && …`, "a sequence cannot begin with what must not happen")
	case span > 0 && (!isLast || len(s.never) > 0):
		return l.errorAt(e, "leave the time out", "only a without that ends the sequence, by itself, can last for a time")
	default:
		s.never, s.wait = append(s.never, match), span
	}
	return nil
}

// length lowers a constant length of time.
func (l *lowering) length(e ast.Expr) (int64, error) {
	source, err := l.constant(e, "the length of time")
	if err != nil {
		return 0, err
	}
	millis, err := parseLength(source)
	if err != nil {
		return 0, l.errorAt(e, `a whole number and s, m, h, d or w: "30d", "12h"`, "%s", err)
	}
	return millis, nil
}
