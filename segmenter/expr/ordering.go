package expr

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// groupsOf lists the segments of each exclusive group, the first first.
func groupsOf(segments []Segment) map[string][]audience.SegmentID {
	ranked := slices.Clone(segments)
	slices.SortStableFunc(ranked, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Pinned, b.Pinned))
	})
	groups := make(map[string][]audience.SegmentID)
	for _, s := range ranked {
		if s.Group != "" {
			groups[s.Group] = append(groups[s.Group], s.ID)
		}
	}
	return groups
}

// ordering places segments into a program, each after those it depends on: it refers to them, or they come before it in its exclusive group.
type ordering struct {
	program *Program
	given   map[audience.SegmentID]unit
	path    []audience.SegmentID // being placed, each depending on the next
}

func (o *ordering) place(id audience.SegmentID) error {
	if _, placed := o.program.byID[id]; placed {
		return nil
	}
	u := o.given[id]
	o.path = append(o.path, id)
	defer func() { o.path = o.path[:len(o.path)-1] }()

	for _, m := range u.expr.mentions {
		if m.of == anRFM || m.of == aClustering {
			if err := o.checkModel(u, m); err != nil {
				return err
			}
		}
		if m.of != aSegment {
			continue
		}
		if err := o.placeReferred(u, m); err != nil {
			return err
		}
		referred := &o.program.units[o.program.byID[audience.SegmentID(m.name)]]
		referred.referred = true
		u.level = max(u.level, 1+referred.level)
		if u.level >= maxChain {
			return u.errorAt(m, "repeat the condition instead", "segments refer to one another over more than %d steps", maxChain)
		}
	}
	if err := o.placeMates(&u); err != nil {
		return err
	}
	o.program.byID[id] = len(o.program.units)
	o.program.units = append(o.program.units, u)
	return nil
}

// placeMates places those of the unit's group that come before it.
func (o *ordering) placeMates(u *unit) error {
	mates := o.program.groups[u.Group] // none has the group ""
	for _, mate := range mates[:max(slices.Index(mates, u.ID), 0)] {
		if at := slices.Index(o.path, mate); at >= 0 {
			return ofSegment(u.ID, errorAt(u.expr.source, 1, 0, "a segment of an exclusive group depends on those before it; change the priorities or the expression",
				"the segments depend on one another in a cycle: %s", cycle(o.path[at:], mate)))
		}
		if err := o.place(mate); err != nil {
			return err
		}
		placed := o.program.byID[mate]
		u.before, u.level = append(u.before, placed), max(u.level, o.program.units[placed].level)
	}
	return nil
}

// cycle writes a path that ends where it begins.
func cycle(path []audience.SegmentID, end audience.SegmentID) string {
	var steps []string
	for _, step := range append(slices.Clone(path), end) {
		steps = append(steps, string(step))
	}
	return strings.Join(steps, " → ")
}

func (o *ordering) placeReferred(u unit, m mention) error {
	id := audience.SegmentID(m.name)
	if at := slices.Index(o.path, id); at >= 0 {
		return u.errorAt(m, "a segment cannot depend on itself", "the segments depend on one another in a cycle: %s", cycle(o.path[at:], id))
	}
	if _, exists := o.given[id]; !exists {
		var ids []string
		for other := range o.given {
			ids = append(ids, string(other))
		}
		return u.errorAt(m, didYouMean(m.name, ids), "there is no enabled segment %q", m.name)
	}
	return o.place(id)
}

// checkModel says when the mentioned model is missing or of the wrong kind.
func (o *ordering) checkModel(u unit, m mention) error {
	kind := audience.ModelKMeans
	if m.of == anRFM {
		kind = audience.ModelRFM
	}
	var ids []string
	for id, s := range o.program.scores {
		if s.Kind == kind {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	if slices.Contains(ids, m.name) {
		return nil
	}
	if _, another := o.program.scores[audience.ModelID(m.name)]; u.Stands && !another {
		o.program.scores[audience.ModelID(m.name)] = Scores{Model: audience.ModelID(m.name), Kind: kind}
		return nil
	}
	hint := didYouMean(m.name, ids)
	if hint == "" {
		hint = "create the model first"
	}
	return u.errorAt(m, hint, "there is no %s model %q", kind, m.name)
}

// errorAt is an error at the place of a mention in the unit's expression.
func (u unit) errorAt(m mention, hint, format string, args ...any) error {
	return ofSegment(u.ID, errorAt(u.expr.source, m.line, m.column, hint, format, args...))
}

// ofSegment names the segment in an *Error.
func ofSegment(id audience.SegmentID, err error) error {
	var fault *Error
	if !errors.As(err, &fault) {
		return fmt.Errorf("segment %q: %w", id, err)
	}
	fault.Segment = id
	return fault
}
