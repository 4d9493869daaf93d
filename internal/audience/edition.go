package audience

import (
	"slices"
	"time"
)

// Edition is the definitions that readers see, all at once, from a version of the log on until the next edition. A changed
// definition is evaluated beside the one in force, under a number of its own that no edition names yet; the next edition
// names it, and nobody ever reads a mixture of the two.
type Edition struct {
	Version     uint64 // of the log, reserved for it: later changes are read through this edition
	Time        time.Time
	Cause       string // run that brought it into force
	Definitions []Definition

	byNumber map[Number]int
	byID     map[SegmentID]int
}

// Definition is a version of a segment in force.
type Definition struct {
	ID         SegmentID
	Segment    Number // of the segment, whatever its version: pins name it
	Version    int
	Number     Number // of this version: memberships and the log name it
	Expression string
	Group      string
	Priority   int
}

// Same reports whether two definitions mean the same, whatever their version and number.
func (d Definition) Same(other Definition) bool {
	d.Version, d.Number, other.Version, other.Number = 0, 0, 0, 0
	return d == other
}

// NewEdition makes an edition of definitions, each id and each number once.
func NewEdition(definitions []Definition) *Edition {
	e := &Edition{Definitions: definitions, byNumber: make(map[Number]int), byID: make(map[SegmentID]int)}
	for i, d := range definitions {
		e.byNumber[d.Number], e.byID[d.ID] = i, i
	}
	return e
}

// Find is the definition of a segment.
func (e *Edition) Find(id SegmentID) (Definition, bool) {
	i, found := e.byID[id]
	if !found {
		return Definition{}, false
	}
	return e.Definitions[i], true
}

// NumberOf is the number by which memberships hold a segment; 0 when it is not in force.
func (e *Edition) NumberOf(id SegmentID) Number {
	d, _ := e.Find(id)
	return d.Number
}

// IDs are the segments of the numbers, in their order; numbers that are not in force name none.
func (e *Edition) IDs(numbers []Number) []SegmentID {
	ids := make([]SegmentID, 0, len(numbers))
	for _, number := range numbers {
		if i, known := e.byNumber[number]; known {
			ids = append(ids, e.Definitions[i].ID)
		}
	}
	return ids
}

// Renumbered is a segment whose number differs between two editions; 0 where it is not in force.
type Renumbered struct{ Before, After Number }

// RenumberedSince are the segments whose number is not the one of an earlier edition.
func (e *Edition) RenumberedSince(before *Edition) (renumbered []Renumbered) {
	for _, d := range before.Definitions {
		if number := e.NumberOf(d.ID); number != d.Number {
			renumbered = append(renumbered, Renumbered{d.Number, number})
		}
	}
	for _, d := range e.Definitions {
		if before.NumberOf(d.ID) == 0 {
			renumbered = append(renumbered, Renumbered{0, d.Number})
		}
	}
	return renumbered
}

// Turn is what readers see change for a user with these numbers when this edition follows another.
func (e *Edition) Turn(before *Edition, numbers []Number) (entered, left []SegmentID) {
	was, is := before.IDs(numbers), e.IDs(numbers)
	return without(is, was), without(was, is)
}

// without are those of ids that are not among others.
func without(ids, others []SegmentID) []SegmentID {
	return slices.DeleteFunc(slices.Clone(ids), func(id SegmentID) bool { return slices.Contains(others, id) })
}
