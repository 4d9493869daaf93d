package rfm_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// TestPercentileIsTheShare compares with counting: of any value, whether somebody has it or not.
func TestPercentileIsTheShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-30, 30), 1, 3000).Draw(t, "values")
		slices.Sort(values)
		n := len(values)
		var ranked []int64
		for _, rank := range rfm.QuantileRanks(n) {
			ranked = append(ranked, values[rank])
		}
		q := rfm.NewQuantiles(n, ranked)
		require.LessOrEqual(t, len(q.Values), 1000)
		for value := int64(-31); value <= 31; value++ {
			atMost := 0
			for _, v := range values {
				if v <= value {
					atMost++
				}
			}
			share, known := q.Percentile(value)
			require.True(t, known)
			require.Equal(t, 1000*atMost/n, int(math.Round(1000*share)), "%d of %d have at most %d", atMost, n, value)
		}
	})
}

func TestNobodyHasNoPercentile(t *testing.T) {
	q := rfm.NewQuantiles(0, nil)
	_, known := q.Percentile(1)
	require.False(t, known)
	_, known = rfm.Quantiles{}.Percentile(1)
	require.False(t, known)
}

// TestFitKeepsTheDistribution holds through JSON, as models are stored.
func TestFitKeepsTheDistribution(t *testing.T) {
	fitted, err := rfm.Config{Convention: rfm.NTile}.Fit([]rfm.Values{
		{RecencyDays: 3, Frequency: 1, MonetaryMicros: -5, Key: "a"}, {RecencyDays: 9, Frequency: 1, MonetaryMicros: 7e6, Key: "b"},
		{RecencyDays: 3, Frequency: 4, MonetaryMicros: 8e6, Key: "c"}, {RecencyDays: 30, Frequency: 2, MonetaryMicros: 9e6, Key: "d"},
	})
	require.NoError(t, err)
	text, err := json.Marshal(fitted)
	require.NoError(t, err)
	var model rfm.Model
	require.NoError(t, json.Unmarshal(text, &model))
	require.Equal(t, rfm.Quantiles{Values: []int64{3, 9, 30}, Shares: []int{500, 750, 1000}}, model.Recency.Quantiles)
	require.Equal(t, rfm.Quantiles{Values: []int64{1, 2, 4}, Shares: []int{500, 750, 1000}}, model.Frequency.Quantiles)
	require.Equal(t, rfm.Quantiles{Values: []int64{-5, 7e6, 8e6, 9e6}, Shares: []int{250, 500, 750, 1000}}, model.Monetary.Quantiles)
}
