package rfm_test

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// users draws a population in which values repeat often.
func users(t *rapid.T) []rfm.Values {
	n := rapid.IntRange(1, 60).Draw(t, "n")
	all := make([]rfm.Values, n)
	for i := range all {
		all[i] = rfm.Values{
			RecencyDays:    rapid.Int64Range(0, 20).Draw(t, "recency"),
			Frequency:      rapid.Int64Range(1, 6).Draw(t, "frequency"),
			MonetaryMicros: rapid.Int64Range(-3e6, 30e6).Draw(t, "monetary"),
			Key:            string(rune('a'+i%26)) + string(rune('a'+i/26)),
		}
	}
	return all
}

func config(t *rapid.T) rfm.Config {
	return rfm.Config{
		Bins:       rapid.IntRange(2, 12).Draw(t, "bins"),
		Convention: rapid.SampledFrom([]rfm.Convention{rfm.Quantile, rfm.NTile, rfm.RFMPackage}).Draw(t, "convention"),
	}
}

func TestScoresAreMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := users(t)
		model, err := config(t).Fit(all)
		require.NoError(t, err)
		for _, a := range all {
			for _, b := range all {
				sa, sb := model.Score(a), model.Score(b)
				require.True(t, a.RecencyDays >= b.RecencyDays || sa.R >= sb.R, "fewer days, lower score")
				require.True(t, a.Frequency <= b.Frequency || sa.F >= sb.F, "more purchases, lower score")
				require.True(t, a.MonetaryMicros <= b.MonetaryMicros || sa.M >= sb.M, "more money, lower score")
			}
		}
	})
}

func TestFitIsBlindToOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, c := users(t), config(t)
		model, err := c.Fit(all)
		require.NoError(t, err)
		again, err := c.Fit(rapid.Permutation(all).Draw(t, "shuffled"))
		require.NoError(t, err)
		require.Equal(t, model, again)
	})
}

func TestEqualValuesGetEqualScores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, c := users(t), config(t)
		if c.Convention == rfm.NTile {
			c.Convention = rfm.Quantile
		}
		model, err := c.Fit(all)
		require.NoError(t, err)
		for _, v := range all {
			same := v
			same.Key = rapid.String().Draw(t, "key")
			require.Equal(t, model.Score(v), model.Score(same))
		}
	})
}

func TestQuantileIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := users(t)
		bins := rapid.IntRange(2, 12).Draw(t, "bins")
		model, err := rfm.Config{Bins: bins}.Fit(all)
		require.NoError(t, err)
		recency := inner(all, bins, func(v rfm.Values) float64 { return float64(v.RecencyDays) })
		monetary := inner(all, bins, func(v rfm.Values) float64 { return float64(v.MonetaryMicros) })
		for _, v := range all {
			require.Equal(t, bins-below(recency, float64(v.RecencyDays)), model.Score(v).R)
			require.Equal(t, 1+below(monetary, float64(v.MonetaryMicros)), model.Score(v).M)
		}
	})
}

// inner are the inner quantiles by linear interpolation, as NumPy writes it, nudged to the nearest multiple of 1/bins, which each
// of them is.
func inner(all []rfm.Values, bins int, value func(rfm.Values) float64) []float64 {
	sorted := make([]float64, 0, len(all))
	for _, v := range all {
		sorted = append(sorted, value(v))
	}
	slices.Sort(sorted)
	var quantiles []float64
	for i := 1; i < bins; i++ {
		h := float64(len(sorted)-1) * float64(i) / float64(bins)
		low := int(h + 1e-9)
		q := sorted[low]
		if low+1 < len(sorted) {
			q += (h - float64(low)) * (sorted[low+1] - sorted[low])
		}
		quantiles = append(quantiles, math.Round(q*float64(bins))/float64(bins))
	}
	return quantiles
}

func below(quantiles []float64, v float64) int {
	n := 0
	for _, q := range quantiles {
		if q < v {
			n++
		}
	}
	return n
}

func TestNTileIsSQLs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := users(t)
		bins := rapid.IntRange(2, 12).Draw(t, "bins")
		model, err := rfm.Config{Bins: bins, Convention: rfm.NTile}.Fit(all)
		require.NoError(t, err)

		// ntile(bins) OVER (ORDER BY recency DESC, user_id)
		slices.SortFunc(all, func(a, b rfm.Values) int {
			return cmp.Or(cmp.Compare(b.RecencyDays, a.RecencyDays), cmp.Compare(a.Key, b.Key))
		})
		sizes := make([]int, bins+1)
		last := 1
		for _, v := range all {
			r := model.Score(v).R
			require.GreaterOrEqual(t, r, last)
			last = r
			sizes[r]++
		}
		for tile := 1; tile <= bins; tile++ {
			want := len(all) / bins
			if tile <= len(all)%bins {
				want++
			}
			require.Equal(t, want, sizes[tile], "tile %d of %d users", tile, len(all))
		}
	})
}

// What SQL computes: the bounds alone, no float, no branch on the convention.
func TestScoreIsASumOfComparisons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := users(t)
		model, err := config(t).Fit(all)
		require.NoError(t, err)
		for _, v := range all {
			r, f := 1, 1
			for _, b := range model.Recency.Bounds {
				if cmp.Or(cmp.Compare(-v.RecencyDays, -b.Value), cmp.Compare(v.Key, b.Key)) >= 0 {
					r++
				}
			}
			for _, b := range model.Frequency.Bounds {
				if cmp.Or(cmp.Compare(v.Frequency, b.Value), cmp.Compare(v.Key, b.Key)) >= 0 {
					f++
				}
			}
			require.Equal(t, r, model.Score(v).R)
			require.Equal(t, f, model.Score(v).F)
		}
	})
}

func TestModelSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model, err := config(t).Fit(users(t))
		require.NoError(t, err)
		stored, err := json.Marshal(model)
		require.NoError(t, err)
		var again rfm.Model
		require.NoError(t, json.Unmarshal(stored, &again))
		require.Equal(t, model, again)
	})
}

func TestDegeneratePopulations(t *testing.T) {
	one := rfm.Values{RecencyDays: 3, Frequency: 2, MonetaryMicros: 5e6, Key: "a"}
	other := one
	other.Key = "b"
	for _, tc := range []struct {
		name       string
		convention rfm.Convention
		users      []rfm.Values
		want       []rfm.Score
	}{
		{"one user by quantile", rfm.Quantile, []rfm.Values{one}, []rfm.Score{{R: 5, F: 1, M: 1, Segment: "new"}}},
		{"all equal by quantile", rfm.Quantile, []rfm.Values{one, other}, []rfm.Score{{5, 1, 1, "new"}, {5, 1, 1, "new"}}},
		{"all equal by the R package", rfm.RFMPackage, []rfm.Values{one, other}, []rfm.Score{{5, 1, 1, "new"}, {5, 1, 1, "new"}}},
		{"one user by ntile", rfm.NTile, []rfm.Values{one}, []rfm.Score{{1, 1, 1, "lost"}}},
		{"fewer users than bins by ntile", rfm.NTile, []rfm.Values{one, other}, []rfm.Score{{1, 1, 1, "lost"}, {2, 2, 2, "hibernating"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			model, err := rfm.Config{Convention: tc.convention}.Fit(tc.users)
			require.NoError(t, err)
			for i, u := range tc.users {
				require.Equal(t, tc.want[i], model.Score(u))
			}
		})
	}
	for _, convention := range []rfm.Convention{rfm.Quantile, rfm.NTile, rfm.RFMPackage} {
		_, err := rfm.Config{Convention: convention}.Fit(nil)
		require.ErrorIs(t, err, rfm.ErrNoUsers)
	}
}

func TestFarApartValuesDoNotOverflow(t *testing.T) {
	model, err := rfm.Config{}.Fit([]rfm.Values{
		{Frequency: 1, MonetaryMicros: math.MinInt64 / 2},
		{Frequency: math.MaxInt64 - 1, MonetaryMicros: math.MaxInt64 / 2},
	})
	require.NoError(t, err)
	require.Equal(t, 1, model.Monetary.Score(math.MinInt64/2, ""))
	require.Equal(t, 3, model.Monetary.Score(0, ""))
	require.Equal(t, 5, model.Monetary.Score(math.MaxInt64/2, ""))
}

func TestFixedCutPoints(t *testing.T) {
	c := rfm.Config{Bins: 3, CutPoints: rfm.CutPoints{
		Recency: []float64{30, 90}, Frequency: []float64{1, 3}, Monetary: []float64{9.99, 100},
	}}
	model, err := c.Fit(nil)
	require.NoError(t, err, "fixed cut points need no data")
	for _, tc := range []struct {
		name    string
		values  rfm.Values
		r, f, m int
	}{
		{"on the first cut points", rfm.Values{RecencyDays: 30, Frequency: 1, MonetaryMicros: 9_990_000}, 3, 1, 1},
		{"just past them", rfm.Values{RecencyDays: 31, Frequency: 2, MonetaryMicros: 9_990_001}, 2, 2, 2},
		{"past the last", rfm.Values{RecencyDays: 91, Frequency: 4, MonetaryMicros: 100_000_001}, 1, 3, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := model.Score(tc.values)
			require.Equal(t, [3]int{tc.r, tc.f, tc.m}, [3]int{s.R, s.F, s.M})
		})
	}

	c.Convention = rfm.RFMPackage
	model, err = c.Fit(nil)
	require.NoError(t, err)
	require.Equal(t, 2, model.Score(rfm.Values{MonetaryMicros: 9_990_000}).M, "the R package's bounds are inclusive")
	require.Equal(t, 2, model.Score(rfm.Values{RecencyDays: 30}).R)
}

func TestFitRanksWantsTheRanksOfRanks(t *testing.T) {
	_, err := rfm.Config{}.FitRanks(10, nil, nil, nil)
	require.ErrorContains(t, err, "fit recency: 0 ranked values given, 8 wanted for 10 users")
}
