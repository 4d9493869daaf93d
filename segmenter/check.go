package segmenter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
	"github.com/kohorta/kohorta/segmenter/kmeans"
)

// CheckSegment says what is wrong with the expression of a new or changed segment in view of all segments and models,
// including references to what does not exist, and cycles. It is an InvalidError of the field "expression".
func (s *Segmenter) CheckSegment(ctx context.Context, segment audience.Segment) error {
	_, err := s.programWith(ctx, newest(segment))
	return err
}

// ofAuthor leaves the id out of a fault of the segment's own expression.
func ofAuthor(id audience.SegmentID, err error) error {
	var fault *expr.Error
	if errors.As(err, &fault) && fault.Segment == id {
		fault.Segment = ""
	}
	return err
}

// CheckModel says what is wrong with a model's spec: an InvalidError of fields such as "rfm.bins".
func (s *Segmenter) CheckModel(ctx context.Context, model audience.Model) error {
	switch {
	case model.Kind == audience.ModelRFM && model.RFM != nil:
		return fieldErrors("rfm", rfmConfig(*model.RFM).Validate())
	case model.Kind == audience.ModelKMeans && model.KMeans != nil:
		config := kmeansConfig(*model.KMeans)
		if err := fieldErrors("k_means", config.Validate()); err != nil {
			return err
		}
		for i, feature := range model.KMeans.Features {
			if featureColumns[feature] == "" || slices.Contains(model.KMeans.Features[:i], feature) {
				return audience.Invalid(fmt.Sprintf("k_means.features[%d]", i), "%q is not, once each, recency, frequency or monetary", feature)
			}
		}
		_, err := s.sourceModel(ctx, model.KMeans.Source)
		return err
	}
	return audience.Invalid("config", "is missing; give rfm or k_means")
}

// sourceModel is the RFM model that a k-means model clusters the scores of; it need not be trained yet.
func (s *Segmenter) sourceModel(ctx context.Context, id audience.ModelID) (audience.Model, error) {
	models, err := s.Catalogue.Models(ctx)
	if err != nil {
		return audience.Model{}, err
	}
	for _, m := range models {
		if m.ID == id && m.Kind == audience.ModelRFM {
			return m, nil
		}
	}
	return audience.Model{}, audience.Invalid("k_means.source", "there is no RFM model models/%.80s; create it first", id)
}

// kmeansConfig is the configuration of the mathematics that a spec asks for.
func kmeansConfig(spec audience.KMeansSpec) kmeans.Config {
	return kmeans.Config{K: spec.K, KMin: spec.MinK, KMax: spec.MaxK, Seed: spec.Seed, Restarts: spec.Restarts}
}

// fieldErrors makes an InvalidError of the joined errors "field: reason" of a configuration of the mathematics.
func fieldErrors(prefix string, err error) error {
	joined, isJoined := err.(interface{ Unwrap() []error })
	if !isJoined {
		return err
	}
	var v audience.Violations
	for _, fault := range joined.Unwrap() {
		field, reason, _ := strings.Cut(fault.Error(), ": ")
		v.Add(prefix+"."+contractNames.Replace(field), "%s", reason)
	}
	return v.Err()
}

// contractNames turns the mathematics' names of settings into the contract's.
var contractNames = strings.NewReplacer(
	"cut_points.recency", "recency_cuts", "cut_points.frequency", "frequency_cuts", "cut_points.monetary", "monetary_cuts",
	"].segment", "].name", "segment_rules", "segments", "k_min", "min_k", "k_max", "max_k", "sample", "sample_size",
)

// References lists the segments and models an expression refers to.
func (s *Segmenter) References(expression string) ([]audience.SegmentID, []audience.ModelID, error) {
	parsed, err := expr.Parse(expression)
	if err != nil {
		return nil, nil, err
	}
	references := parsed.References()
	return references.Segments, references.Models, nil
}
