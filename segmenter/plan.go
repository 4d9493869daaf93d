package segmenter

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// plan is the edition that the catalogue asks for, and those of its definitions that have a new number: they must be
// evaluated first. There is none, nil, when the edition in force is as the catalogue asks for.
func (s *Segmenter) plan(ctx context.Context, current *audience.Edition) (next *audience.Edition, beside []audience.Definition, err error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read segments: %w", err)
	}
	known, err := s.allEditions(ctx)
	if err != nil {
		return nil, nil, err
	}
	wanted := enabled(segments)
	changes := changed(current, wanted)
	if err := spread(changes, wanted, current.Definitions); err != nil {
		return nil, nil, err
	}
	free := newNumbering(known)
	same := len(wanted) == len(current.Definitions)
	definitions := make([]audience.Definition, len(wanted))
	for i, definition := range wanted {
		if changes[definition.ID] {
			definition.Number = free.take(definition.Segment)
			beside = append(beside, definition)
		} else {
			definition.Number = current.NumberOf(definition.ID)
		}
		definitions[i] = definition
		before, _ := current.Find(definition.ID)
		same = same && before == definition
	}
	if same {
		return nil, nil, nil
	}
	return audience.NewEdition(definitions), beside, nil
}

// enabled are the newest definitions of the enabled segments.
func enabled(segments []audience.Segment) (definitions []audience.Definition) {
	for _, segment := range segments {
		if !segment.Disabled {
			definitions = append(definitions, segment.Definition())
		}
	}
	return definitions
}

// changed are the segments that are defined in one way before and in another, or not at all, after.
func changed(before *audience.Edition, after []audience.Definition) map[audience.SegmentID]bool {
	changes := make(map[audience.SegmentID]bool)
	for _, d := range before.Definitions {
		changes[d.ID] = true
	}
	for _, d := range after {
		was, _ := before.Find(d.ID)
		changes[d.ID] = !d.Same(was)
	}
	return changes
}

// spread adds to changed segments all whose members may be others for it: those that refer to one, and the mates of its
// exclusive group, as it was before and is after.
func spread(changes map[audience.SegmentID]bool, after, before []audience.Definition) error {
	groups := make(map[string]bool) // with a changed segment
	for _, d := range before {
		groups[d.Group] = groups[d.Group] || changes[d.ID]
	}
	for more := true; more; {
		more = false
		for _, d := range after {
			if !changes[d.ID] && (d.Group == "" || !groups[d.Group]) {
				referring, err := refersTo(d, changes)
				if err != nil {
					return err
				}
				if !referring {
					continue
				}
			}
			more = more || !changes[d.ID] || !groups[d.Group]
			changes[d.ID], groups[d.Group] = true, true
		}
	}
	return nil
}

// refersTo says whether the expression names one of the segments.
func refersTo(d audience.Definition, segments map[audience.SegmentID]bool) (bool, error) {
	parsed, err := expr.Parse(d.Expression)
	if err != nil {
		return false, fmt.Errorf("segment %q: %w", d.ID, err)
	}
	for _, id := range parsed.References().Segments {
		if segments[id] {
			return true, nil
		}
	}
	return false, nil
}

// numbering gives numbers that no edition has had.
type numbering struct {
	taken   map[audience.Number]bool
	highest audience.Number
}

func newNumbering(editions []*audience.Edition) *numbering {
	n := &numbering{taken: make(map[audience.Number]bool)}
	for _, edition := range editions {
		for _, d := range edition.Definitions {
			n.add(d.Number)
		}
	}
	return n
}

func (n *numbering) add(number audience.Number) {
	n.taken[number], n.highest = true, max(n.highest, number)
}

// take prefers a number, which the first version of a segment mostly gets: its own.
func (n *numbering) take(preferred audience.Number) audience.Number {
	number := preferred
	if n.taken[number] || number == 0 {
		number = n.highest + 1
	}
	n.add(number)
	return number
}
