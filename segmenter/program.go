package segmenter

import (
	"context"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// definitions are what membership is computed from: the enabled segments and the versions of models, compiled together.
// They come into force with an evaluation of everybody, so that all memberships follow the same ones at any time.
type definitions struct {
	program  *expr.Program
	segments []audience.Segment // the enabled ones
	sources  []expr.Segment
	scores   []expr.Scores
}

// ids names the segments by their numbers.
func (d *definitions) ids() map[audience.Number]audience.SegmentID {
	ids := make(map[audience.Number]audience.SegmentID, len(d.segments))
	for _, segment := range d.segments {
		ids[segment.Number] = segment.ID
	}
	return ids
}

// definitions compiles the enabled segments and the published scores as they are in the catalogue now.
func (s *Segmenter) definitions(ctx context.Context) (*definitions, error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	d := &definitions{}
	for _, segment := range segments {
		if !segment.Disabled {
			d.segments = append(d.segments, segment)
			d.sources = append(d.sources, source(segment))
		}
	}
	if d.scores, err = s.scores(ctx); err != nil {
		return nil, fmt.Errorf("read models: %w", err)
	}
	if d.program, err = expr.Compile(d.sources, d.scores); err != nil {
		return nil, fmt.Errorf("compile segments: %w", err)
	}
	return d, nil
}

// source is a segment as expressions are compiled.
func source(segment audience.Segment) expr.Segment {
	return expr.Segment{ID: segment.ID, Number: segment.Number, Expression: segment.Expression}
}

// scores are the models' published versions.
func (s *Segmenter) scores(ctx context.Context) ([]expr.Scores, error) {
	models, err := s.Catalogue.Models(ctx)
	if err != nil {
		return nil, err
	}
	scores := make([]expr.Scores, 0, len(models))
	for _, m := range models {
		scores = append(scores, expr.Scores{Model: m.ID, Kind: m.Kind, Number: m.Number, Version: m.Version})
	}
	return scores, nil
}

// query evaluates the segments at an instant, for users or, when they are nil, for everybody.
func (d *definitions) query(at time.Time, users []audience.UserID) audience.Query {
	q := d.program.Query(at, users)
	q.SQL = "SELECT user_id, segments, toInt64(0) AS due FROM (" + q.SQL + ")"
	return q
}
