package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"

	"github.com/kohorta/kohorta/internal/audience"
)

// References are the things outside an expression that it reads, each list sorted and without repeats.
type References struct {
	Events     []string // event types
	Properties []string // of events
	Attributes []string // of profiles
	Models     []audience.ModelID
	Segments   []audience.SegmentID
}

// References are what the expression reads.
func (e *Expr) References() References { return references(e.mentions) }

// mention is a name outside the expression and where it stands: line from 1, column from 0.
type mention struct {
	of           referent
	name         string
	line, column int
}

// referent is the kind of thing a mention names.
type referent uint8

const (
	anEvent referent = iota
	aProperty
	anAttribute
	anRFM
	aClustering
	aSegment
)

// mention records that the node reads something.
func (l *lowering) mention(e ast.Expr, of referent, name string) {
	place := l.checked.SourceInfo().GetStartLocation(e.ID())
	l.mentions = append(l.mentions, mention{of, name, place.Line(), place.Column()})
}

func references(mentions []mention) (r References) {
	for _, m := range mentions {
		switch m.of {
		case anEvent:
			r.Events = append(r.Events, m.name)
		case aProperty:
			r.Properties = append(r.Properties, m.name)
		case anAttribute:
			r.Attributes = append(r.Attributes, m.name)
		case anRFM, aClustering:
			r.Models = append(r.Models, audience.ModelID(m.name))
		case aSegment:
			r.Segments = append(r.Segments, audience.SegmentID(m.name))
		}
	}
	r.Events, r.Properties, r.Attributes = sortedSet(r.Events), sortedSet(r.Properties), sortedSet(r.Attributes)
	r.Models, r.Segments = sortedSet(r.Models), sortedSet(r.Segments)
	return r
}

func sortedSet[T ~string](names []T) []T {
	slices.Sort(names)
	return slices.Compact(names)
}
