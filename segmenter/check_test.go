package segmenter_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter"
)

// modelsOnly is a catalogue of models.
type modelsOnly struct {
	segmenter.Catalogue
	models []audience.Model
}

func (c modelsOnly) Models(context.Context) ([]audience.Model, error) { return c.models, nil }

// TestCheckModel: what is wrong with a spec is said of the contract's fields.
func TestCheckModel(t *testing.T) {
	s := segmenter.New(segmenter.Deps{Catalogue: modelsOnly{models: []audience.Model{
		{ID: "rfm", Kind: audience.ModelRFM}, {ID: "ways", Kind: audience.ModelKMeans},
	}}})
	rfm := func(spec audience.RFMSpec) audience.Model { return audience.Model{Kind: audience.ModelRFM, RFM: &spec} }
	kmeans := func(spec audience.KMeansSpec) audience.Model {
		return audience.Model{Kind: audience.ModelKMeans, KMeans: &spec}
	}
	for name, test := range map[string]struct {
		model audience.Model
		want  string // "": nothing is wrong
	}{
		"rfm":                        {rfm(audience.RFMSpec{}), ""},
		"k-means":                    {kmeans(audience.KMeansSpec{Source: "rfm", Features: []string{"recency", "monetary"}}), ""},
		"no spec":                    {audience.Model{Kind: audience.ModelRFM}, "config: "},
		"one bin":                    {rfm(audience.RFMSpec{Bins: 1}), "rfm.bins: "},
		"cuts that do not rise":      {rfm(audience.RFMSpec{Bins: 3, RecencyCuts: []float64{2, 1}}), "rfm.recency_cuts[1]: "},
		"a range beyond the bins":    {rfm(audience.RFMSpec{Segments: []audience.RFMSegmentRule{{Name: "a", Monetary: [2]int{4, 6}}}}), "rfm.segments[0].monetary: "},
		"too many clusters":          {kmeans(audience.KMeansSpec{Source: "rfm", K: 1001}), "k_means.k: "},
		"a range of k the wrong way": {kmeans(audience.KMeansSpec{Source: "rfm", MinK: 5, MaxK: 4}), "k_means.min_k: "},
		"a feature twice":            {kmeans(audience.KMeansSpec{Source: "rfm", Features: []string{"recency", "recency"}}), "k_means.features[1]: "},
		"an unknown feature":         {kmeans(audience.KMeansSpec{Source: "rfm", Features: []string{"height"}}), "k_means.features[0]: "},
		"a source that is not there": {kmeans(audience.KMeansSpec{Source: "none"}), "k_means.source: there is no RFM model models/none; create it first"},
		"a source of another kind":   {kmeans(audience.KMeansSpec{Source: "ways"}), "k_means.source: "},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.CheckModel(t.Context(), test.model)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, audience.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
}
