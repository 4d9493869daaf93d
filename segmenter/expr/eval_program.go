package expr

import (
	"maps"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Eval says which of the program's segments a user is in at a time, ascending: what its query must say of the same user.
func (p *Program) Eval(h History, at time.Time) []audience.Number {
	h = p.complete(h, at)
	in := []audience.Number{}
	for _, u := range p.units {
		if h.Memberships[u.ID] {
			in = append(in, u.Number)
		}
	}
	slices.Sort(in)
	return in
}

// complete adds to a history what follows from it: the RFM score and the memberships at a time.
func (p *Program) complete(h History, at time.Time) History {
	h.Scores = maps.Clone(h.Scores)
	if h.Scores == nil {
		h.Scores = map[audience.ModelID]audience.Score{}
	}
	delete(h.Scores, rfmModel)
	if model := p.scores[rfmModel].RFM; model != nil {
		h.Scores[rfmModel] = model.score(h.User, h.Events, at)
		h.Percentiles = model.percentiles(h.Scores[rfmModel])
	}
	h.Memberships = map[audience.SegmentID]bool{}
	holds := make([]bool, len(p.units)) // the expressions by themselves
	for i, u := range p.units {
		holds[i] = u.expr.Eval(h, at)
		h.Memberships[u.ID] = p.member(i, holds, h.Pins, at)
	}
	return h
}

// member says whether a user is in a unit, given what the expressions say of it and of those before it.
func (p *Program) member(target int, holds []bool, pins []audience.Pin, at time.Time) bool {
	u := p.units[target]
	if u.Group == "" {
		return pinned(pins, u.Pinned, audience.HeldIn, at) != nil || holds[target] && pinned(pins, u.Pinned, audience.HeldOut, at) == nil
	}
	var newest *audience.Pin
	for _, id := range p.groups[u.Group] {
		pin := pinned(pins, p.units[p.byID[id]].Pinned, audience.HeldIn, at)
		if pin != nil && (newest == nil || pin.Version > newest.Version || pin.Version == newest.Version && pin.Segment > newest.Segment) {
			newest = pin
		}
	}
	if newest != nil {
		return newest.Segment == u.Pinned
	}
	candidate := func(i int) bool { return holds[i] && pinned(pins, p.units[i].Pinned, audience.HeldOut, at) == nil }
	return candidate(target) && !slices.ContainsFunc(u.before, candidate)
}

// pinned is the pin in force that holds the user in or out of the segment, or nil.
func pinned(pins []audience.Pin, segment audience.Number, held audience.Held, at time.Time) *audience.Pin {
	for i, pin := range pins {
		if pin.Segment == segment && pin.Held == held && (pin.Expires.IsZero() || pin.Expires.After(at)) {
			return &pins[i]
		}
	}
	return nil
}
