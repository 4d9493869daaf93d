package segmenter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// definitions are what membership is computed from: segments and the versions of models, compiled together. They come into
// force with an evaluation of everybody, so that all memberships follow the same ones at any time.
type definitions struct {
	program  *expr.Program
	segments []audience.Definition // of an edition, and those of the next one
	scores   []expr.Scores
}

// definitions compiles what readers see.
func (s *Segmenter) definitions(ctx context.Context) (*definitions, error) {
	edition, err := s.Edition(ctx)
	if err != nil {
		return nil, err
	}
	return s.compile(ctx, edition, nil)
}

// compile compiles an edition, and beside it definitions that are to replace some of it: these refer to one another where they
// can, and to the edition otherwise.
func (s *Segmenter) compile(ctx context.Context, edition *audience.Edition, beside []audience.Definition) (*definitions, error) {
	d := &definitions{}
	var sources []expr.Segment
	for _, definition := range edition.Definitions {
		s := source(definition)
		s.Stands = true
		d.segments, sources = append(d.segments, definition), append(sources, s)
	}
	instead := make(map[audience.SegmentID]audience.SegmentID, len(beside)) // no segment's id has a quote
	for _, definition := range beside {
		instead[definition.ID] = definition.ID + "'"
	}
	for _, definition := range beside {
		s := source(definition)
		if s.ID, s.Instead = instead[s.ID], instead; s.Group != "" {
			s.Group += "'"
		}
		d.segments, sources = append(d.segments, definition), append(sources, s)
	}
	var err error
	if d.scores, err = s.scores(ctx); err != nil {
		return nil, fmt.Errorf("read models: %w", err)
	}
	if d.program, err = expr.Compile(sources, d.scores); err != nil {
		return nil, fmt.Errorf("compile segments: %w", err)
	}
	return d, nil
}

// untrained says which segments lack a score because their model was never trained.
func (d *definitions) untrained() (notes []string, err error) {
	for _, scores := range d.scores {
		if scores.Version > 0 {
			continue
		}
		var without []string
		for _, segment := range d.segments {
			parsed, err := expr.Parse(segment.Expression)
			if err != nil {
				return nil, fmt.Errorf("segment %q: %w", segment.ID, err)
			}
			if id := string(segment.ID); slices.Contains(parsed.References().Models, scores.Model) && !slices.Contains(without, id) {
				without = append(without, id)
			}
		}
		if len(without) > 0 {
			notes = append(notes, fmt.Sprintf("models/%s was never trained, so nobody has a score by it in %s; train it, then evaluate again",
				scores.Model, strings.Join(without, ", ")))
		}
	}
	return notes, nil
}

// source is a definition as expressions are compiled.
func source(d audience.Definition) expr.Segment {
	return expr.Segment{ID: d.ID, Number: d.Number, Pinned: d.Segment, Expression: d.Expression, Group: d.Group, Priority: d.Priority}
}

// newest is the newest definition of a segment as expressions are compiled, under the segment's own number.
func newest(segment audience.Segment) expr.Segment {
	definition := segment.Definition()
	definition.Number = segment.Number
	return source(definition)
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
