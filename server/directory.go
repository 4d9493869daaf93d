package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// directoryAge is how long it is believed that a segment does not exist: callers may ask for one often.
const directoryAge = time.Second

// directory turns the numbers by which memberships hold segments into names, and back, by the definitions in force.
type directory struct {
	live     Live
	segments Resources[audience.Segment]
	known    atomic.Pointer[names]

	mu   sync.Mutex
	all  map[audience.SegmentID]bool // segments there were, in force or not, when they were read
	read time.Time
}

// names are those of an edition.
type names struct {
	*audience.Edition
	byNumber map[audience.Number]string
}

func newDirectory(live Live, segments Resources[audience.Segment]) *directory {
	return &directory{live: live, segments: segments}
}

// of are the names of segments by number, in the order given, of those in force.
func (n *names) of(numbers []audience.Number) []string {
	out := make([]string, 0, len(numbers))
	for _, number := range numbers {
		if name, inForce := n.byNumber[number]; inForce {
			out = append(out, name)
		}
	}
	return out
}

// current are the names in force.
func (d *directory) current(ctx context.Context) (*names, error) {
	edition, err := d.live.Edition(ctx)
	if err != nil {
		return nil, err
	}
	if known := d.known.Load(); known != nil && known.Edition == edition {
		return known, nil
	}
	current := namesOf(edition)
	d.known.Store(current)
	return current, nil
}

func namesOf(edition *audience.Edition) *names {
	n := &names{edition, make(map[audience.Number]string, len(edition.Definitions))}
	for _, definition := range edition.Definitions {
		n.byNumber[definition.Number] = nameOf(segmentsCollection, definition.ID)
	}
	return n
}

// consistent reads memberships and gives the names to understand them by. Memberships hold all that is in force for as long as
// it is: what was read while other definitions came into force is read again.
func (d *directory) consistent(ctx context.Context, read func(*names) error) (*names, error) {
	before, err := d.current(ctx)
	for err == nil {
		if err = read(before); err != nil {
			break
		}
		var after *names
		if after, err = d.current(ctx); err == nil && after.Version == before.Version {
			return before, nil
		}
		before = after
	}
	return nil, err
}

// exists is an ErrNotFound for a segment that there is not, be it in force or not.
func (d *directory) exists(ctx context.Context, in *names, id audience.SegmentID) error {
	if in.NumberOf(id) != 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.all[id] && time.Since(d.read) > directoryAge {
		segments, err := d.segments.All(ctx)
		if err != nil {
			return fmt.Errorf("read the names of segments: %w", err)
		}
		d.all, d.read = make(map[audience.SegmentID]bool, len(segments)), time.Now()
		for _, segment := range segments {
			d.all[segment.ID] = true
		}
	}
	if !d.all[id] {
		return &audience.ResourceError{Kind: audience.ErrNotFound, Name: nameOf(segmentsCollection, id)}
	}
	return nil
}

// written forgets which segments there are, after one was created or deleted.
func (d *directory) written() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all, d.read = nil, time.Time{}
}
