package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Segment is what Compile needs of a segment.
type Segment struct {
	ID         audience.SegmentID
	Number     audience.Number
	Expression string
}

// Scores is a model there is, and the version of its scores to read; version 0 has not been trained, so nobody has a score.
type Scores struct {
	Model   audience.ModelID
	Kind    audience.ModelKind
	Number  audience.Number
	Version uint32
}

// maxChain is how many segments may stand on one another by in_segment: each is a subquery around the one before.
const maxChain = 32

// Program is a set of segments compiled together. It never changes, so any number of goroutines may use it.
type Program struct {
	units  []unit // references before those who refer
	byID   map[audience.SegmentID]int
	scores map[audience.ModelID]Scores
}

// unit is a segment of a program.
type unit struct {
	Segment
	expr  *Expr
	level int // 0: refers to no segment; otherwise one more than the highest it refers to
}

// Compile checks the expressions together and composes their query. Every segment and model they refer to must be among
// segments and scores, and no segment may refer to itself, be it through others. Errors are *Error and name the segment.
func Compile(segments []Segment, scores []Scores) (*Program, error) {
	p := &Program{byID: make(map[audience.SegmentID]int), scores: make(map[audience.ModelID]Scores)}
	for _, s := range scores {
		p.scores[s.Model] = s
	}
	o := ordering{program: p, given: make(map[audience.SegmentID]unit)}
	for _, s := range segments {
		if _, twice := o.given[s.ID]; twice {
			return nil, audience.Invalid("segments", "%q is given twice", s.ID)
		}
		e, err := Parse(s.Expression)
		if err != nil {
			return nil, ofSegment(s.ID, err)
		}
		o.given[s.ID] = unit{Segment: s, expr: e}
	}
	for _, s := range segments {
		if err := o.place(s.ID); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// References are what all segments together read.
func (p *Program) References() References {
	var all []mention
	for _, u := range p.units {
		all = append(all, u.expr.mentions...)
	}
	return references(all)
}

// ReferringTo are the segments whose expression names id by in_segment, sorted.
func (p *Program) ReferringTo(id audience.SegmentID) (referring []audience.SegmentID) {
	for _, u := range p.units {
		if slices.Contains(u.expr.References().Segments, id) {
			referring = append(referring, u.ID)
		}
	}
	slices.Sort(referring)
	return referring
}

// ordering places segments into a program, each after those it refers to.
type ordering struct {
	program *Program
	given   map[audience.SegmentID]unit
	path    []audience.SegmentID // being placed, each referring to the next
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
		u.level = max(u.level, 1+o.program.units[o.program.byID[audience.SegmentID(m.name)]].level)
		if u.level >= maxChain {
			return u.errorAt(m, "repeat the condition instead", "segments refer to one another over more than %d steps", maxChain)
		}
	}
	o.program.byID[id] = len(o.program.units)
	o.program.units = append(o.program.units, u)
	return nil
}

func (o *ordering) placeReferred(u unit, m mention) error {
	id := audience.SegmentID(m.name)
	if at := slices.Index(o.path, id); at >= 0 {
		var steps []string
		for _, step := range append(slices.Clone(o.path[at:]), id) {
			steps = append(steps, string(step))
		}
		return u.errorAt(m, "a segment cannot depend on itself", "the segments refer to one another in a cycle: %s", strings.Join(steps, " → "))
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
