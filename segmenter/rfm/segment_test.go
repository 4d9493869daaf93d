package rfm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

func TestDefaultTableNamesAll125(t *testing.T) {
	for _, bins := range []int{2, 3, 4, 5, 7, 10, 100} {
		model, err := rfm.Config{Bins: bins}.Fit([]rfm.Values{{Frequency: 1}})
		require.NoError(t, err)
		seen := map[string]int{}
		for r := 1; r <= bins; r++ {
			for f := 1; f <= bins; f++ {
				for m := 1; m <= bins; m++ {
					seen[rfm.Segment(model.Rules, r, f, m)]++
				}
			}
		}
		require.NotContains(t, seen, rfm.Others, "%d bins", bins)
		if bins == 5 {
			require.Len(t, seen, 11, "every name is used: %v", seen)
		}
	}
}

func TestSegments(t *testing.T) {
	for _, tc := range []struct {
		preset  string
		r, f, m int
		want    string
	}{
		{rfm.PresetDefault, 5, 5, 5, "champions"},
		{rfm.PresetDefault, 5, 5, 3, "loyal"},
		{rfm.PresetDefault, 3, 4, 5, "loyal"},
		{rfm.PresetDefault, 5, 2, 1, "potential_loyalist"},
		{rfm.PresetDefault, 5, 1, 5, "new"},
		{rfm.PresetDefault, 4, 1, 1, "promising"},
		{rfm.PresetDefault, 3, 3, 3, "need_attention"},
		{rfm.PresetDefault, 3, 1, 1, "about_to_sleep"},
		{rfm.PresetDefault, 1, 5, 5, "cant_lose"},
		{rfm.PresetDefault, 2, 3, 1, "at_risk"},
		{rfm.PresetDefault, 2, 1, 1, "hibernating"},
		{rfm.PresetDefault, 1, 1, 1, "lost"},
		{rfm.PresetRFMPackage, 5, 5, 5, "champions"},
		{rfm.PresetRFMPackage, 2, 1, 5, rfm.Others},
	} {
		t.Run(tc.preset+" "+tc.want, func(t *testing.T) {
			model, err := rfm.Config{SegmentPreset: tc.preset}.Fit([]rfm.Values{{Frequency: 1}})
			require.NoError(t, err)
			require.Equal(t, tc.want, rfm.Segment(model.Rules, tc.r, tc.f, tc.m))
		})
	}

	own := rfm.Config{SegmentRules: []rfm.Rule{{Segment: "recent", Recency: rfm.Range{4, 5}}, {Segment: "rest"}}}
	model, err := own.Fit([]rfm.Values{{Frequency: 1}})
	require.NoError(t, err)
	require.Equal(t, "recent", rfm.Segment(model.Rules, 4, 1, 1))
	require.Equal(t, "rest", rfm.Segment(model.Rules, 3, 1, 1))
}

// Of four bins, 1 to 4 stand for 1, 2 (2.33), 4 (3.67) and 5 of five.
func TestPresetsStretchToTheBins(t *testing.T) {
	model, err := rfm.Config{Bins: 4}.Fit([]rfm.Values{{Frequency: 1}})
	require.NoError(t, err)
	for _, tc := range []struct {
		r, f, m int
		want    string
	}{
		{4, 3, 3, "champions"},
		{4, 4, 2, "loyal"},
		{3, 2, 1, "potential_loyalist"},
		{3, 1, 1, "promising"},
		{2, 3, 4, "cant_lose"},
		{1, 1, 1, "lost"},
	} {
		require.Equal(t, tc.want, rfm.Segment(model.Rules, tc.r, tc.f, tc.m), "%d %d %d", tc.r, tc.f, tc.m)
	}
}
