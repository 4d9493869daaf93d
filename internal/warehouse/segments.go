package warehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Segments keeps the segments and what their definitions were.
type Segments struct{ *Resources[audience.Segment] }

// Segments are the segments.
func (s *Store) Segments() Segments {
	return Segments{&Resources[audience.Segment]{
		store: s, kind: "segments",
		id:   func(v *audience.Segment) string { return string(v.ID) },
		meta: func(v *audience.Segment) *audience.Meta { return &v.Meta },
	}}
}

// Create stores a new segment; its definition is version 1.
func (s Segments) Create(ctx context.Context, segment audience.Segment) (audience.Segment, error) {
	segment.Version, segment.DefineTime = 1, time.Now().UTC().Truncate(time.Millisecond)
	return s.Resources.Create(ctx, segment)
}

// Update replaces a segment. Another definition is the next version; the one before remains.
func (s Segments) Update(ctx context.Context, segment audience.Segment) (audience.Segment, error) {
	for {
		current, err := s.Get(ctx, string(segment.ID))
		if err != nil {
			return current, err
		}
		next := segment
		next.Version, next.DefineTime, next.Number = current.Version, current.DefineTime, current.Number
		if !next.Definition().Same(current.Definition()) {
			if err := s.archive(ctx, current); err != nil {
				return current, err
			}
			next.Version, next.DefineTime = current.Version+1, time.Now().UTC().Truncate(time.Millisecond)
		}
		if segment.Etag == "" {
			next.Etag = current.Etag
		}
		updated, err := s.Resources.Update(ctx, next)
		if segment.Etag != "" || !errors.Is(err, audience.ErrConflict) {
			return updated, err
		}
	}
}

// archive keeps the definition that a segment is about to lose. A repeat is harmless.
func (s Segments) archive(ctx context.Context, segment audience.Segment) error {
	definition, err := json.Marshal(segment.Definition())
	if err == nil {
		err = s.store.insert(ctx, "segment_versions (segment, version, definition, define_time)",
			[]uint32{uint32(segment.Number)}, []uint32{uint32(segment.Version)}, []string{string(definition)}, []int64{millis(segment.DefineTime)})
	}
	if err != nil {
		return fmt.Errorf("keep version %d of segments/%s: %w", segment.Version, segment.ID, err)
	}
	return nil
}

// Versions are what a segment's definition is and was, the newest first.
func (s Segments) Versions(ctx context.Context, segment audience.Segment) ([]audience.SegmentVersion, error) {
	versions, err := all(stream(ctx, s.store, audience.Query{
		SQL: `SELECT definition, define_time FROM segment_versions FINAL
			WHERE segment = {segment:UInt32} AND version < {version:UInt32} ORDER BY version`,
		Params: map[string]any{"segment": uint32(segment.Number), "version": uint32(segment.Version)},
	}, func(rows driver.Rows) (version audience.SegmentVersion, err error) {
		var definition string
		if err := rows.Scan(&definition, &version.DefineTime); err != nil {
			return version, err
		}
		version.DefineTime = orZero(version.DefineTime)
		return version, json.Unmarshal([]byte(definition), &version.Definition)
	}))
	if err != nil {
		return nil, fmt.Errorf("read the versions of segments/%s: %w", segment.ID, err)
	}
	versions = append(versions, audience.SegmentVersion{Definition: segment.Definition(), DefineTime: segment.DefineTime})
	slices.Reverse(versions)
	return versions, nil
}
