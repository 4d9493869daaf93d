package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// How old the directory may be: other processes create and delete segments too.
const (
	directoryAge    = 5 * time.Second // what is known is read anew after
	directoryMinAge = time.Second     // before that, an unknown number is that of a deleted segment
)

// directory knows the names of segments by number and back, so that a read of membership asks one store only. It goes on
// with what it knows while the resources cannot be read.
type directory struct {
	segments Resources[audience.Segment]
	log      *slog.Logger
	loading  sync.Mutex
	known    atomic.Pointer[names]
}

// names are the segments at one moment.
type names struct {
	byNumber map[audience.Number]string
	byName   map[string]audience.Number
	loaded   time.Time
}

func newDirectory(segments Resources[audience.Segment], log *slog.Logger) *directory {
	return &directory{segments: segments, log: log}
}

// follow reads the directory anew until ctx ends.
func (d *directory) follow(ctx context.Context) {
	tick := time.NewTicker(directoryAge)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.refresh(ctx)
	}
}

// refresh reads the directory anew, after a write; what was known stays when that fails.
func (d *directory) refresh(ctx context.Context) {
	if _, err := d.load(ctx, time.Now()); err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "segment names not refreshed", "error", err)
	}
}

// load gives names that were read after notBefore, by reading them if need be.
func (d *directory) load(ctx context.Context, notBefore time.Time) (*names, error) {
	d.loading.Lock()
	defer d.loading.Unlock()
	if known := d.known.Load(); known != nil && !known.loaded.Before(notBefore) {
		return known, nil
	}
	began := time.Now()
	segments, err := d.segments.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the names of segments: %w", err)
	}
	known := &names{
		byNumber: make(map[audience.Number]string, len(segments)),
		byName:   make(map[string]audience.Number, len(segments)),
		loaded:   began,
	}
	for _, segment := range segments {
		name := nameOf(segmentsCollection, segment.ID)
		known.byNumber[segment.Number], known.byName[name] = name, segment.Number
	}
	d.known.Store(known)
	return known, nil
}

// current gives the names as known.
func (d *directory) current(ctx context.Context) (*names, error) {
	if known := d.known.Load(); known != nil {
		return known, nil
	}
	return d.load(ctx, time.Time{})
}

// namesOf are the names of segments by number, in the order given, without those deleted since.
func (d *directory) namesOf(ctx context.Context, numbers []audience.Number) ([]string, error) {
	known, err := d.current(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(numbers))
	for _, number := range numbers {
		name, ok := known.byNumber[number]
		if !ok {
			if known, err = d.load(ctx, time.Now().Add(-directoryMinAge)); err != nil {
				return nil, err
			}
			if name, ok = known.byNumber[number]; !ok {
				continue
			}
		}
		out = append(out, name)
	}
	return out, nil
}

// numberOf is the number of a segment by name; ErrNotFound when there is none.
func (d *directory) numberOf(ctx context.Context, name string) (audience.Number, error) {
	known, err := d.current(ctx)
	if err != nil {
		return 0, err
	}
	if number, ok := known.byName[name]; ok {
		return number, nil
	}
	if known, err = d.load(ctx, time.Now().Add(-directoryMinAge)); err != nil {
		return 0, err
	}
	if number, ok := known.byName[name]; ok {
		return number, nil
	}
	return 0, &audience.ResourceError{Kind: audience.ErrNotFound, Name: name}
}
