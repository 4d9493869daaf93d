package expr

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Explanation says why a user is in a segment at a time, or is not.
type Explanation struct {
	Member  bool               // whether the user is in
	Holds   bool               // whether the expression holds by itself
	Pin     *audience.Pin      // that decides; nil: none does
	Instead audience.SegmentID // of the exclusive group, that has the user who would be in this one; "" is none
	Clauses []ExplainedClause
}

// ExplainedClause is a clause, and the conditions that it consists of.
type ExplainedClause struct {
	Clause
	Holds      bool
	Conditions []audience.ExplainedCondition
}

// MaxExplainedEvents is how many events a value names.
const MaxExplainedEvents = 5

// Explain says why a user is in one of the program's segments at a time, or is not. It looks at every event: it is for one user.
func (p *Program) Explain(id audience.SegmentID, h History, at time.Time) Explanation {
	target := p.byID[id]
	u := p.units[target]
	h = p.complete(h, at)
	v := evaluation{h, at.UnixMilli(), nil}
	x := Explanation{Member: h.Memberships[id], Holds: v.holds(u.expr.root), Pin: pinned(h.Pins, u.Pinned, audience.HeldIn, at)}
	wanted := x.Holds || x.Pin != nil
	if !x.Member {
		x.Pin = pinned(h.Pins, u.Pinned, audience.HeldOut, at)
	}
	for _, mate := range p.groups[u.Group] {
		if mate != id && h.Memberships[mate] && wanted && x.Pin == nil {
			x.Instead, x.Pin = mate, pinned(h.Pins, p.units[p.byID[mate]].Pinned, audience.HeldIn, at)
		}
	}
	for _, c := range u.expr.clauses {
		explained := ExplainedClause{Clause: c.Clause, Holds: v.holds(c.condition)}
		for _, leaf := range leaves(nil, c.condition) {
			t := tracing{evaluation: v, rfm: p.scores[rfmModel].RFM}
			t.condition(leaf)
			explained.Conditions = append(explained.Conditions, audience.ExplainedCondition{Text: textOf(leaf), Holds: v.holds(leaf), Values: t.values})
		}
		x.Clauses = append(x.Clauses, explained)
	}
	return x
}

// leaves appends the conditions that a condition is made of.
func leaves(found []condition, c condition) []condition {
	var inner []condition
	switch c := c.(type) {
	case and:
		inner = c.operands
	case or:
		inner = c.operands
	case not:
		inner = []condition{c.operand}
	case choice:
		inner = []condition{c.test, c.then, c.otherwise}
	case same:
		inner = []condition{c.left, c.right}
	default:
		return append(found, c)
	}
	for _, operand := range inner {
		found = leaves(found, operand)
	}
	return found
}

// tracing collects what a condition looks at.
type tracing struct {
	evaluation
	rfm    *RFM // nil: not trained
	values []audience.ExplainedValue
}

func (t *tracing) condition(c condition) {
	switch c := c.(type) {
	case comparison:
		t.value(c.left)
		t.value(c.right)
	case oneOf:
		t.value(c.needle)
	case match:
		t.value(c.text)
	case present:
		t.value(c.field)
	case member:
		t.add(textOf(c), strconv.FormatBool(t.holds(c)), nil)
	case sequence:
		t.sequence(c)
	}
}

func (t *tracing) value(val value) {
	switch val := val.(type) {
	case now:
		t.add("now", said(moment, t.of(val)), nil)
	case field:
		var events []*audience.Event
		if val.from == score && val.model == rfmModel && t.rfm != nil {
			events = t.purchases()
		}
		t.add(valueText(val), said(val.of, t.ofEither(val)), events)
	case aggregate:
		t.add(valueText(val), said(val.kind(), t.of(val)), t.deciding(val))
	case arithmetic:
		t.value(val.left)
		t.value(val.right)
	case pick:
		for _, leaf := range leaves(nil, val.test) {
			t.condition(leaf)
		}
		t.value(val.then)
		t.value(val.otherwise)
	}
}

// sequence names the events of the longest beginning of the sequence that there is.
func (t *tracing) sequence(s sequence) {
	value, events := fmt.Sprintf("all %d steps", len(s.steps)), t.search(s).chain(0, 0)
	for n := len(s.steps); n > 0 && events == nil; n-- {
		value = fmt.Sprintf("%d of %d steps", n, len(s.steps))
		if n == len(s.steps) {
			value += ", but not what follows"
		}
		events = t.search(sequence{window: s.window, steps: s.steps[:n]}).chain(0, 0)
	}
	if events == nil {
		value = fmt.Sprintf("0 of %d steps", len(s.steps))
	}
	slices.Reverse(events)
	t.add(textOf(s), value, events)
}

// deciding are the events that decide an aggregate, the newest first.
func (t *tracing) deciding(a aggregate) []*audience.Event {
	events := slices.DeleteFunc(t.matching(a.eventMatch, a.window), func(e *audience.Event) bool {
		return a.of != nil && (evaluation{t.history, t.atMillis, e}).ofEither(a.of).missing
	})
	slices.Reverse(events)
	if len(events) == 0 {
		return nil
	}
	smaller := func(x, y *audience.Event) int {
		ofEvent := func(e *audience.Event) float64 { return (evaluation{t.history, t.atMillis, e}).of(a.of).number }
		return cmp.Compare(ofEvent(x), ofEvent(y))
	}
	switch a.function {
	case minimum:
		return []*audience.Event{slices.MinFunc(events, smaller)}
	case maximum:
		return []*audience.Event{slices.MaxFunc(events, smaller)}
	case first, firstValue:
		return events[len(events)-1:]
	case last, lastValue, daysSince:
		return events[:1]
	default: // all of them
		return events
	}
}

// purchases are those that RFM rests on, the newest first.
func (t *tracing) purchases() (events []*audience.Event) {
	for _, event := range t.rfm.PurchaseTypes {
		events = append(events, t.matching(eventMatch{event: event}, t.rfm.window())...)
	}
	slices.SortFunc(events, func(a, b *audience.Event) int { return b.Time.Compare(a.Time) })
	return slices.DeleteFunc(events, func(e *audience.Event) bool { return e.ValueMicros < 0 })
}

func (t *tracing) add(text, value string, events []*audience.Event) {
	explained := audience.ExplainedValue{Text: text, Value: value}
	for _, e := range events[:min(len(events), MaxExplainedEvents)] {
		explained.Events = append(explained.Events, e.ID)
	}
	t.values = append(t.values, explained)
}

// said writes a fact of a kind.
func said(of kind, f fact) string {
	switch {
	case f.missing:
		return "missing"
	case f.isText:
		return strconv.Quote(f.text)
	case of == moment:
		return time.UnixMilli(int64(f.number)).UTC().Format(time.RFC3339Nano)
	case of == span:
		return (time.Duration(f.number) * time.Millisecond).String()
	default:
		return strconv.FormatFloat(f.number, 'f', -1, 64)
	}
}
