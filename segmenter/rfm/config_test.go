package rfm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

func TestValidate(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"empty", ``, ""},
		{"all set", "bins: 4\nconvention: ntile\nfrequency: days\nmonetary: mean\nrefunds: ignore\nrecency: elapsed\nwindow_days: 365\n" +
			"as_of: 2006-12-31\ntime_zone: Europe/London\nsegment_rules: [{segment: hot, recency: [4, 4]}]", ""},
		{"one bin", `bins: 1`, "bins: 1 is not between 2 and 100"},
		{"unknown convention", `convention: quintile`, `convention: "quintile" is not one of [quantile ntile rfm_package]`},
		{"wrong number of cuts", `cut_points: {recency: [1, 2]}`, "cut_points.recency: 2 cut points for 5 bins: give 4"},
		{"NaN cut", `cut_points: {monetary: [1, 2, .nan, 4]}`, "cut_points.monetary[2]: NaN is not a number"},
		{"infinite cut", `cut_points: {monetary: [-.inf, 2, 3, 4]}`, "cut_points.monetary[0]: -Inf is not a number"},
		{"cuts out of order", `cut_points: {frequency: [1, 3, 3, 4]}`, "cut_points.frequency[2]: 3 does not exceed the one before it, 3"},
		{"window into the future", `window_days: -5`, "window_days: -5 is not between 0"},
		{"window of a million years", `window_days: 365000000`, "window_days: 365000000 is not between 0"},
		{"as_of in words", `as_of: yesterday`, `as_of: "yesterday" is neither a date`},
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

func TestAsOfTime(t *testing.T) {
	now := time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ name, asOf, zone, want string }{
		{"empty is now", "", "", "2020-01-01T12:00:00Z"},
		{"a date ends with its day", "2006-12-31", "", "2006-12-31T23:59:59.999999999Z"},
		{"in the time zone", "2010-07-01", "Europe/London", "2010-07-01T22:59:59.999999999Z"},
		{"a time is itself", "2006-12-31T10:00:00+02:00", "Europe/London", "2006-12-31T08:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := rfm.Config{AsOf: tc.asOf, TimeZone: tc.zone}.AsOfTime(now)
			require.NoError(t, err)
			require.Equal(t, tc.want, got.UTC().Format(time.RFC3339Nano))
		})
	}
}
