package segmenter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// editions are all there ever were, the oldest first; the last one is what readers see. Once they are known there is at least one.
type editions struct {
	loading sync.Mutex
	known   atomic.Pointer[[]*audience.Edition]
}

// Edition is what readers see now.
func (s *Segmenter) Edition(ctx context.Context) (*audience.Edition, error) {
	known, err := s.allEditions(ctx)
	if err != nil {
		return nil, err
	}
	return known[len(known)-1], nil
}

// EditionAt is what readers saw at an instant.
func (s *Segmenter) EditionAt(ctx context.Context, at time.Time) (*audience.Edition, error) {
	known, err := s.allEditions(ctx)
	if err != nil {
		return nil, err
	}
	for _, edition := range slices.Backward(known[1:]) {
		if !edition.Time.After(at) {
			return edition, nil
		}
	}
	return known[0], nil
}

// EverNamed are the segments that numbers have stood for in any edition, each once, in the order of the numbers.
func (s *Segmenter) EverNamed(ctx context.Context, numbers []audience.Number) (ids []audience.SegmentID, err error) {
	known, err := s.allEditions(ctx)
	if err != nil {
		return nil, err
	}
	for _, number := range numbers {
		for _, edition := range slices.Backward(known) {
			if named := edition.IDs([]audience.Number{number}); len(named) > 0 {
				if !slices.Contains(ids, named[0]) {
					ids = append(ids, named[0])
				}
				break
			}
		}
	}
	return ids, nil
}

// allEditions reads the editions once.
func (s *Segmenter) allEditions(ctx context.Context) ([]*audience.Edition, error) {
	if known := s.editions.known.Load(); known != nil {
		return *known, nil
	}
	s.editions.loading.Lock()
	defer s.editions.loading.Unlock()
	if known := s.editions.known.Load(); known != nil {
		return *known, nil
	}
	return s.readEditions(ctx)
}

// readEditionsAnew reads the editions again: another process may have brought one into force.
func (s *Segmenter) readEditionsAnew(ctx context.Context) error {
	s.editions.loading.Lock()
	defer s.editions.loading.Unlock()
	_, err := s.readEditions(ctx)
	return err
}

// readEditions reads the editions; loading is held.
func (s *Segmenter) readEditions(ctx context.Context) ([]*audience.Edition, error) {
	known, err := s.Log.Editions(ctx)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		first, err := s.firstEdition(ctx)
		if err != nil {
			return nil, fmt.Errorf("begin the first edition: %w", err)
		}
		known = append(known, first)
	}
	s.editions.known.Store(&known)
	return known, nil
}

// firstEdition holds from the beginning of the log. It is empty, unless the log is older than editions: then each segment has its
// own number in it.
func (s *Segmenter) firstEdition(ctx context.Context) (*audience.Edition, error) {
	version, err := s.Log.LastVersion(ctx)
	if err != nil {
		return nil, err
	}
	var definitions []audience.Definition
	if version > 0 {
		segments, err := s.Catalogue.Segments(ctx)
		if err != nil {
			return nil, err
		}
		for _, segment := range segments {
			if !segment.Disabled {
				definition := segment.Definition()
				definition.Number = segment.Number
				definitions = append(definitions, definition)
			}
		}
	}
	first := audience.NewEdition(definitions)
	return first, s.Log.PutEdition(ctx, first)
}

// last is what readers see, once that is known.
func (e *editions) last() *audience.Edition {
	known := *e.known.Load()
	return known[len(known)-1]
}

// publish makes an edition, which is durable, the one that readers see.
func (e *editions) publish(next *audience.Edition) {
	e.loading.Lock()
	defer e.loading.Unlock()
	known := append(slices.Clone(*e.known.Load()), next)
	e.known.Store(&known)
}

// around are the edition that a place in the log is read through, and the next one, which is to be passed; nil is none.
func (e *editions) around(at place) (through, next *audience.Edition) {
	for _, edition := range *e.known.Load() {
		if through != nil && at.before(edition.Version, lastUser) {
			return through, edition
		}
		through = edition
	}
	return through, nil
}
