package expr

import (
	"cmp"
	"slices"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
)

// Segment is what Compile needs of a segment.
type Segment struct {
	ID         audience.SegmentID
	Number     audience.Number // in the answer
	Pinned     audience.Number // by which pins know the segment; 0: Number
	Expression string
	Group      string // exclusive group: of its segments a user is in the first only; "" is none
	Priority   int    // within Group, the lowest first; equal ones by Pinned
	// Instead names the segments to read in the place of those that the expression names.
	Instead map[audience.SegmentID]audience.SegmentID
	// Numeric says that the expression is a number rather than a condition: nobody is in or out of such a segment, see Values.
	Numeric bool
	// Stands says that the segment was compiled before: a model that is gone since counts as one that was never trained.
	Stands bool
}

// Scores is a model there is, and the version of its scores to read; version 0 has not been trained, so nobody has a score.
type Scores struct {
	Model   audience.ModelID
	Kind    audience.ModelKind
	Number  audience.Number
	Version uint32
	RFM     *RFM // of a trained RFM model, which scores users as of the evaluation; else nil
}

// maxChain is how many segments may stand on one another by in_segment: each is a subquery around the one before.
const maxChain = 32

// Program is a set of segments compiled together. It never changes, so any number of goroutines may use it.
type Program struct {
	units  []unit                          // references, and mates of an exclusive group that come first, before those who depend on them
	groups map[string][]audience.SegmentID // of each exclusive group, the first first
	byID   map[audience.SegmentID]int
	scores map[audience.ModelID]Scores

	machine func() *machine // made when it is first asked for
}

// unit is a segment of a program.
type unit struct {
	Segment
	expr   *Expr
	level  int   // 0: depends on no segment; otherwise one more than the highest it refers to, and no less than its mates
	before []int // units of its group that come before it

	referred bool // to by another
}

// read says whether the query reads, in a column of its own, if a user is in the unit; the pins of others are applied to all at once.
func (u unit) read() bool { return u.referred || u.Group != "" }

// Compile checks the expressions together and composes their query. Every segment and model they refer to must be among
// segments and scores, and no segment may refer to itself, be it through others. Errors are *Error and name the segment.
func Compile(segments []Segment, scores []Scores) (*Program, error) {
	segments = slices.Clone(segments)
	for i := range segments {
		segments[i].Pinned = cmp.Or(segments[i].Pinned, segments[i].Number)
	}
	p := &Program{byID: make(map[audience.SegmentID]int), scores: make(map[audience.ModelID]Scores), groups: groupsOf(segments)}
	for _, s := range scores {
		p.scores[s.Model] = s
	}
	o := ordering{program: p, given: make(map[audience.SegmentID]unit)}
	for _, s := range segments {
		if _, twice := o.given[s.ID]; twice {
			return nil, audience.Invalid("segments", "%q is given twice", s.ID)
		}
		e, err := parse(s)
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
	p.machine = sync.OnceValue(func() *machine { return newMachine(p) })
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
