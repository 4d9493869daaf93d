package kmeans

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var rfmFeatures = []string{Recency, Frequency, Monetary}

// shoppers are n users in three groups, in turn: regulars, newcomers, and those long gone.
func shoppers(n int, seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, 3))
	groups := [3][3]float64{{5, 30, 3000}, {4, 1, 60}, {300, 1, 40}}
	var values []float64
	for i := range n {
		for j, typical := range groups[i%3] {
			v := typical * math.Exp(0.15*random.NormFloat64())
			if j < 2 {
				v = math.Max(math.Round(v), float64(j))
			}
			values = append(values, v)
		}
	}
	return values
}

func TestTrain(t *testing.T) {
	values := shoppers(999, 1)
	m, r, err := Train(values, rfmFeatures, Config{K: 3, Seed: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, 3, r.K)
	require.Equal(t, 3, m.LastLabel)

	require.Equal(t, "recent frequent big spenders", m.Clusters[0].Name)
	require.Equal(t, "recent one-time small spenders", m.Clusters[1].Name)
	require.Equal(t, "lapsed one-time small spenders", m.Clusters[2].Name)
	for i, c := range m.Clusters {
		require.Equal(t, i+1, c.Label, "labels count by descending monetary")
		require.Equal(t, 333, c.Users)
		require.InDelta(t, 1.0/3, c.Share, 1e-12)
		for j := range rfmFeatures {
			require.InEpsilon(t, 1+c.Typical[j], 1+c.Mean[j], 0.1, "%s of %s", rfmFeatures[j], c.Name)
		}
	}
	require.InEpsilon(t, 3000, m.Clusters[0].Mean[2], 0.05)

	label, distance := m.Assign([]float64{300, 1, 41})
	require.Equal(t, 3, label)
	require.Less(t, distance, 0.3)

	// The same in SQL's words.
	for i := 0; i < len(values); i += 3 {
		best, least := 0, math.Inf(1)
		for _, c := range m.Clusters {
			var s float64
			for j, x := range values[i : i+3] {
				z := (math.Copysign(1, x)*math.Log1p(math.Abs(x)) - m.Scaler.Mean[j]) / m.Scaler.SD[j]
				s += (z - c.Centroid[j]) * (z - c.Centroid[j])
			}
			if s < least {
				best, least = c.Label, s
			}
		}
		label, distance := m.Assign(values[i : i+3])
		require.Equal(t, best, label)
		require.InDelta(t, math.Sqrt(least), distance, 1e-12)
	}

	stored, err := json.Marshal(m)
	require.NoError(t, err)
	var again Model
	require.NoError(t, json.Unmarshal(stored, &again))
	require.Equal(t, m, again)
}

func TestRetrainingKeepsLabels(t *testing.T) {
	first, _, err := Train(shoppers(999, 1), rfmFeatures, Config{K: 3}, nil)
	require.NoError(t, err)

	t.Run("newer data", func(t *testing.T) {
		next, r, err := Train(shoppers(1200, 2), rfmFeatures, Config{K: 3, Seed: 9}, &first)
		require.NoError(t, err)
		require.Equal(t, "warm start", r.Candidates[0].Source)
		require.True(t, r.Candidates[0].Chosen)
		require.Equal(t, 3, next.LastLabel)
		for i, c := range next.Clusters {
			require.Equal(t, first.Clusters[i].Label, c.Label)
			require.Equal(t, first.Clusters[i].Name, c.Name)
		}
	})
	t.Run("one cluster more has a new label, and one fewer leaves a gap", func(t *testing.T) {
		more, _, err := Train(shoppers(999, 1), rfmFeatures, Config{K: 4}, &first)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3, 4}, labelsOf(more))
		fewer, _, err := Train(shoppers(999, 1), rfmFeatures, Config{K: 2}, &more)
		require.NoError(t, err)
		require.Len(t, fewer.Clusters, 2)
		back, _, err := Train(shoppers(999, 1), rfmFeatures, Config{K: 4}, &fewer)
		require.NoError(t, err)
		require.Equal(t, append(labelsOf(fewer), 5, 6), labelsOf(back), "labels that went are not given again")
	})
	t.Run("other features share nothing", func(t *testing.T) {
		other, _, err := Train(shoppers(999, 1), []string{"a", "b", "c"}, Config{K: 3}, &first)
		require.NoError(t, err)
		require.Equal(t, []int{4, 5, 6}, labelsOf(other))
	})
}

func labelsOf(m Model) (labels []int) {
	for _, c := range m.Clusters {
		labels = append(labels, c.Label)
	}
	return labels
}

func TestTrainRefuses(t *testing.T) {
	for _, tc := range []struct {
		name     string
		values   []float64
		features []string
		want     string
	}{
		{"no features", nil, nil, "features: none"},
		{"unnamed feature", nil, []string{""}, "features[0]: empty"},
		{"feature twice", nil, []string{"a", "a"}, "features[1]: a is named twice"},
		{"no users", nil, rfmFeatures, "no points"},
		{"ragged", []float64{1, 2}, rfmFeatures, "2 values are no whole number of users of 3 features"},
		{"NaN", []float64{1, math.NaN(), 3}, rfmFeatures, "user 0, frequency: NaN is not a finite number"},
		{"infinite", []float64{1, 2, 3, 4, 5, math.Inf(-1)}, rfmFeatures, "user 1, monetary: -Inf is not a finite number"},
		{"all users equal", []float64{1, 2, 3, 1, 2, 3}, rfmFeatures, "k: 2 clusters of 2 points, 1 of them distinct"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Train(tc.values, tc.features, Config{K: 2}, nil)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestScaler(t *testing.T) {
	values := []float64{
		0, 7.7, -50,
		10, 7.7, 0,
		300, 7.7, 1e6,
	}
	s := newScaler(values, 3)
	require.InDelta(t, 1, s.SD[1], 0, "all equal")
	scaled := s.transform(values)
	for j := range 3 {
		var sum, squares float64
		for i := range 3 {
			z := s.Scale(values[3*i : 3*i+3])
			require.InDelta(t, z[j], float64(scaled[3*i+j]), 1e-6)
			require.InDelta(t, values[3*i+j], s.unscale(z)[j], 1e-6)
			sum += z[j]
			squares += z[j] * z[j]
		}
		require.InDelta(t, 0, sum, 1e-9)
		if j != 1 {
			require.InDelta(t, 3, squares, 1e-9)
		}
	}
	require.Less(t, scaled[2], scaled[5], "a negative sum is below none")
}

func TestMatchIsTheBestPairing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 3).Draw(t, "d")
		point := rapid.SliceOfN(rapid.Float64Range(-10, 10), d, d)
		draw := func(name string) (flat []float64) {
			for _, p := range rapid.SliceOfN(point, 0, 5).Draw(t, name) {
				flat = append(flat, p...)
			}
			return flat
		}
		previous, next := draw("previous"), draw("next")
		matched := Match(previous, next, d)
		require.Len(t, matched, len(next)/d)

		used := map[int]bool{}
		var cost float64
		for i, j := range matched {
			if j < 0 {
				continue
			}
			require.False(t, used[j], "a cluster is continued once")
			used[j] = true
			cost += pairCost(previous, next, d, i, j)
		}
		require.Len(t, used, min(len(previous), len(next))/d)
		require.InDelta(t, cheapest(previous, next, d, 0, map[int]bool{}), cost, 1e-9)
	})
}

func pairCost(previous, next []float64, d, i, j int) float64 {
	var s float64
	for c := range d {
		diff := next[i*d+c] - previous[j*d+c]
		s += diff * diff
	}
	return s
}

// cheapest tries every pairing of next from i on.
func cheapest(previous, next []float64, d, i int, used map[int]bool) float64 {
	p, n := len(previous)/d, len(next)/d
	if i == n {
		return 0
	}
	best := math.Inf(1)
	if n-i > p-len(used) { // not all that are left can be paired
		best = cheapest(previous, next, d, i+1, used)
	}
	for j := range p {
		if used[j] {
			continue
		}
		used[j] = true
		best = min(best, pairCost(previous, next, d, i, j)+cheapest(previous, next, d, i+1, used))
		delete(used, j)
	}
	return best
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		name     string
		centroid []float64
		typical  []float64
		want     string
	}{
		{"best", []float64{-1, 1, 1}, []float64{3, 20, 900}, "recent frequent big spenders"},
		{"gone", []float64{1, -1, -0.2}, []float64{300, 1.1, 50}, "lapsed one-time buyers"},
		{"one-time is said though it is near the mean", []float64{0, 0, 0.9}, []float64{90, 1, 500}, "one-time big spenders"},
		{"nothing apart", []float64{0.1, -0.3, 0.49}, []float64{90, 3, 100}, "average buyers"},
		{"rare", []float64{0, -0.7, -0.6}, []float64{90, 1.6, 20}, "occasional small spenders"},
		{"refunds exceed purchases", []float64{0, 0, -3}, []float64{90, 2, -40}, "returners"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, describe(rfmFeatures, Cluster{Centroid: tc.centroid, Typical: tc.typical}))
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	m := Model{Features: rfmFeatures, Clusters: []Cluster{
		{Label: 1, Centroid: []float64{1, -1, 0}, Typical: []float64{97.4, 1, 40}},
		{Label: 2, Centroid: []float64{2, -1, 0}, Typical: []float64{290.2, 1, 41}},
		{Label: 3, Centroid: []float64{2, -1, 0.1}, Typical: []float64{290.3, 1, 42}},
		{Label: 4, Centroid: []float64{0, 1, 0}, Typical: []float64{50, 9, 43}},
	}}
	nameClusters(m)
	require.Equal(t, []string{
		"lapsed one-time buyers, about 97.4 days ago",
		"lapsed one-time buyers, about 290 days ago (2)",
		"lapsed one-time buyers, about 290 days ago (3)",
		"frequent buyers",
	}, []string{m.Clusters[0].Name, m.Clusters[1].Name, m.Clusters[2].Name, m.Clusters[3].Name})
}
