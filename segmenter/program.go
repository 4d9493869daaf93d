package segmenter

import (
	"context"
	"fmt"

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
	return expr.Segment{
		ID: segment.ID, Number: segment.Number, Expression: segment.Expression, Group: segment.Group, Priority: segment.Priority,
	}
}

// scores are the models' published versions, with what scoring users as of an evaluation takes.
func (s *Segmenter) scores(ctx context.Context) ([]expr.Scores, error) {
	models, err := s.Catalogue.Models(ctx)
	if err != nil {
		return nil, err
	}
	scores := make([]expr.Scores, len(models))
	for i, m := range models {
		scores[i] = expr.Scores{Model: m.ID, Kind: m.Kind, Number: m.Number, Version: m.Version}
		if m.Kind == audience.ModelRFM && m.Version > 0 {
			if scores[i].RFM, err = s.fittedRFM(ctx, m); err != nil {
				return nil, fmt.Errorf("read version %d of models/%s: %w", m.Version, m.ID, err)
			}
		}
	}
	return scores, nil
}
