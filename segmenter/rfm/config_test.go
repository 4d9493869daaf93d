package rfm_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"empty", ``, ""},
		{"all set", "bins: 4\nconvention: ntile\nfrequency: days\nmonetary: mean\nrefunds: ignore\nrecency: elapsed\nwindow_days: 365\n" +
			"time_zone: Europe/London\nsegment_rules: [{segment: hot, recency: [4, 4]}]", ""},
		{"one bin", `bins: 1`, "bins: 1 is not between 2 and 100"},
		{"unknown convention", `convention: quintile`, `convention: "quintile" is not one of [quantile ntile rfm_package]`},
		{"wrong number of cuts", `cut_points: {recency: [1, 2]}`, "cut_points.recency: 2 cut points for 5 bins: give 4"},
		{"NaN cut", `cut_points: {monetary: [1, 2, .nan, 4]}`, "cut_points.monetary[2]: NaN is not a number"},
		{"infinite cut", `cut_points: {monetary: [-.inf, 2, 3, 4]}`, "cut_points.monetary[0]: -Inf is not a number"},
		{"cuts out of order", `cut_points: {frequency: [1, 3, 3, 4]}`, "cut_points.frequency[2]: 3 does not exceed the one before it, 3"},
		{"window into the future", `window_days: -5`, "window_days: -5 is not between 0"},
		{"window of a million years", `window_days: 365000000`, "window_days: 365000000 is not between 0"},
		{"unknown zone", `time_zone: Mars/Olympus`, `time_zone: "Mars/Olympus" is not an IANA time zone`},
		{"the machine's zone", `time_zone: Local`, `time_zone: "Local" is not an IANA time zone`},
		{"unknown preset", `segment_preset: putler`, `segment_preset: "putler" is not one of`},
		{"preset and rules", "segment_preset: default\nsegment_rules: [{segment: a}]", "segment_rules: a segment_preset is given too"},
		{"bad segment name", `segment_rules: [{segment: At Risk}]`, "segment_rules[0].segment:"},
		{"range beyond the bins", `segment_rules: [{segment: a}, {segment: b, monetary: [4, 6]}]`, "segment_rules[1].monetary: [4, 6] is not a range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c rfm.Config
			require.NoError(t, yaml.Unmarshal([]byte(tc.yaml), &c))
			err := c.Validate()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			_, fitErr := c.Fit([]rfm.Values{{Frequency: 1}})
			require.Equal(t, err, fitErr, "Fit refuses what Validate refuses")
		})
	}
}
