package kmeans

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// cloud draws n points around a few centers.
func cloud(seed uint64, n, d int) []float32 {
	random := rand.New(rand.NewPCG(seed, 7))
	points := make([]float32, n*d)
	for i := range points {
		points[i] = float32(4*random.IntN(3)) + float32(random.NormFloat64())
	}
	return points
}

// grid draws points with few distinct values, so that ties and duplicates abound.
func grid(t *rapid.T) (points []float32, d int) {
	d = rapid.IntRange(1, 4).Draw(t, "d")
	n := rapid.IntRange(2, 40).Draw(t, "n")
	for range n * d {
		points = append(points, float32(rapid.IntRange(-3, 3).Draw(t, "x")))
	}
	return points, d
}

func inertiaOf(points []float32, d int, centroids []float32) float64 {
	var total float64
	for i := 0; i < len(points); i += d {
		least := math.Inf(1)
		for c := 0; c < len(centroids); c += d {
			var s float64
			for j := range d {
				diff := float64(points[i+j]) - float64(centroids[c+j])
				s += diff * diff
			}
			least = min(least, s)
		}
		total += least
	}
	return total
}

func TestInertiaNeverRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, d := grid(t)
		k := rapid.IntRange(1, countDistinct(points, d, 8)).Draw(t, "k")
		start := make([]float32, k*d) // anywhere, so that clusters start empty too
		for i := range start {
			start[i] = float32(rapid.Float64Range(-9, 9).Draw(t, "start"))
		}
		l := newLloyd(points, d, start, 1)
		last := math.Inf(1)
		for range 12 {
			l.step()
			now := inertiaOf(points, d, l.centroids)
			require.LessOrEqual(t, now, last*(1+1e-6)+1e-6)
			last = now
		}
		_, sizes, inertia := l.finish()
		require.InDelta(t, last, inertia, 1e-9*(1+last))
		require.NotContains(t, sizes, 0, "as many distinct points as clusters: none stays empty")
	})
}

// plain is Lloyd's algorithm as the textbook has it, in float64, to full rest.
func plain(points []float32, d int, start []float32) []float32 {
	centroids := slices.Clone(start)
	k := len(start) / d
	for {
		sums, counts := make([]float64, k*d), make([]float64, k)
		for i := 0; i < len(points); i += d {
			nearest, least := 0, math.Inf(1)
			for c := range k {
				if s := inertiaOf(points[i:i+d], d, centroids[c*d:(c+1)*d]); s < least {
					nearest, least = c, s
				}
			}
			counts[nearest]++
			for j := range d {
				sums[nearest*d+j] += float64(points[i+j])
			}
		}
		next := make([]float32, k*d)
		for i := range next {
			next[i] = float32(sums[i] / counts[i/d])
		}
		if slices.Equal(next, centroids) {
			return centroids
		}
		centroids = next
	}
}

func TestBoundsChangeNothing(t *testing.T) {
	for _, d := range []int{1, 2, 3, 5} {
		for seed := range uint64(5) {
			points := cloud(seed, 3000, d)
			start := plusPlus(points, d, 6, generator(seed, 0))
			l := newLloyd(points, d, start, 1)
			l.iterate(10_000, 0)
			_, _, inertia := l.finish()
			require.InEpsilon(t, inertiaOf(points, d, plain(points, d, start)), inertia, 1e-6, "d=%d seed=%d", d, seed)
		}
	}
}

func TestNearestTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		centroids, d := grid(t)
		x := rapid.SliceOfN(rapid.Float32Range(-4, 4), d, d).Draw(t, "x")
		var distances []float32
		for c := 0; c < len(centroids); c += d {
			distances = append(distances, squared(x, centroids[c:c+d]))
		}
		nearest, first, second := nearestTwo(x, centroids)
		require.InEpsilon(t, 1+slices.Min(distances), 1+first, 1e-6)
		require.InEpsilon(t, 1+first, 1+distances[nearest], 1e-6)
		others := slices.Delete(distances, int(nearest), int(nearest)+1)
		require.InEpsilon(t, 1+slices.Min(others), 1+second, 1e-6)
	})
	_, _, second := nearestTwo([]float32{1}, []float32{5})
	require.True(t, math.IsInf(float64(second), 1), "one centroid has no second")
}

func TestSameSeedSameAnswer(t *testing.T) {
	points := cloud(1, 40_000, 3)
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	first, err := Fit(points, 3, Config{K: 7, Seed: 42, Restarts: 4})
	require.NoError(t, err)
	for range 3 {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
		again, err := Fit(points, 3, Config{K: 7, Seed: 42, Restarts: 4})
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	other, err := Fit(points, 3, Config{K: 7, Seed: 43, Restarts: 4})
	require.NoError(t, err)
	require.NotEqual(t, first.Candidates[0].Inertia, other.Candidates[0].Inertia)
}

// The library's own generator cannot be seeded; its candidate must not show it.
func TestMuesliIsRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, d := grid(t)
		distinct := countDistinct(points, d, 8)
		if distinct < 2 {
			t.Skip("one cluster is not asked of it")
		}
		k := rapid.IntRange(2, distinct).Draw(t, "k")
		seed := rapid.Uint64().Draw(t, "seed")
		first := muesliStart(points, d, k, generator(seed, 0))
		require.Len(t, first, k*d)
		for range 5 {
			require.Equal(t, first, muesliStart(points, d, k, generator(seed, 0)))
		}
	})
	points := cloud(3, 4000, 3)
	start := muesliStart(points, 3, 8, generator(5, 0))
	require.Equal(t, start, muesliStart(points, 3, 8, generator(5, 0)))
	l := newLloyd(points, 3, start, 1)
	l.iterate(300, 0)
	_, _, rest := l.finish()
	require.Less(t, inertiaOf(points, 3, start), 1.5*rest, "it has partitioned, not only drawn starts")
}

func TestFit(t *testing.T) {
	points := []float32{0, 0, 0, 1, 10, 0, 10, 1, 5, 20}
	r, err := Fit(points, 2, Config{K: 3, Seed: 1})
	require.NoError(t, err)
	require.InDelta(t, 1.0, r.Inertia, 1e-6)
	require.Equal(t, r.Assignments[0], r.Assignments[1])
	require.Equal(t, r.Assignments[2], r.Assignments[3])
	slices.Sort(r.Sizes)
	require.Equal(t, []int{1, 2, 2}, r.Sizes)
	chosen := 0
	for _, c := range r.Candidates {
		require.GreaterOrEqual(t, c.Inertia, 1.0-1e-6)
		if c.Chosen {
			chosen++
		}
	}
	require.Equal(t, 1, chosen)
	require.Equal(t, "muesli/kmeans", r.Candidates[len(r.Candidates)-1].Source)
}

func TestFitRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		name   string
		points []float32
		d      int
		config Config
		want   string
	}{
		{"negative k", []float32{1}, 1, Config{K: -1}, "k: -1 is not between 1 and 1000"},
		{"range upside down", []float32{1}, 1, Config{KMin: 5, KMax: 3}, "k_min: 5 exceeds k_max, 3"},
		{"NaN tolerance", []float32{1}, 1, Config{Tolerance: math.NaN()}, "tolerance: NaN"},
		{"no dimension", []float32{1}, 0, Config{K: 1}, "d: 0 dimensions"},
		{"no points", nil, 3, Config{K: 1}, "no points"},
		{"ragged", []float32{1, 2, 3}, 2, Config{K: 1}, "3 numbers are no whole number of points of 2 dimensions"},
		{"NaN", []float32{1, 2, 3, nan}, 2, Config{K: 1}, "point 1, dimension 1: NaN"},
		{"infinite", []float32{inf, 2}, 2, Config{K: 1}, "point 0, dimension 0: +Inf"},
		{"more clusters than points", []float32{1, 2, 3}, 1, Config{K: 4}, "k: 4 clusters of 3 points, 3 of them distinct"},
		{"more clusters than distinct points", []float32{1, 1, 2}, 1, Config{K: 3}, "2 of them distinct"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Fit(tc.points, tc.d, tc.config)
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := Fit([]float32{1, 1}, 1, Config{K: 2})
	require.ErrorIs(t, err, ErrTooFew)
}

func TestAuto(t *testing.T) {
	three := func(n int) (points []float32) {
		random := rand.New(rand.NewPCG(9, 9))
		for i := range n {
			points = append(points, float32(10*(i%3))+float32(random.NormFloat64()), float32(random.NormFloat64()))
		}
		return points
	}
	for _, tc := range []struct {
		name   string
		points []float32
		config Config
		want   int
	}{
		{"three groups", three(5000), Config{}, 3},
		{"a range without the best", three(500), Config{KMin: 5, KMax: 6}, 5},
		{"all equal", []float32{2, 2, 2, 2, 2, 2}, Config{}, 1},
		{"one point", []float32{1, 2}, Config{}, 1},
		{"fewer distinct points than the range", []float32{0, 0, 0, 1, 9, 9, 0, 0}, Config{KMax: 9}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Fit(tc.points, 2, tc.config)
			require.NoError(t, err)
			require.Equal(t, tc.want, r.K)
		})
	}
	r, err := Fit(three(500), 2, Config{})
	require.NoError(t, err)
	require.Len(t, r.Silhouettes, 9, "k = 2 to 10")
	require.Greater(t, r.Silhouettes[1].Value, 0.7)
}

// By hand: points 0, 1 and 10 on a line, clusters {0, 1} and {10}: 1 - 1/10, 1 - 1/9, and 0 for the one alone.
func TestSilhouetteByHand(t *testing.T) {
	got := silhouette([]float32{0, 1, 10}, 1, []int32{0, 0, 1}, 2)
	require.InDelta(t, (0.9+8.0/9)/3, got, 1e-7)
}

func TestSampleHoldsEnoughDistinctPoints(t *testing.T) {
	points := make([]float32, 200_000) // all zero but for the last
	points[len(points)-1] = 5
	r, err := Fit(points, 1, Config{K: 2, Sample: 100})
	require.NoError(t, err)
	require.InDelta(t, 0, r.Inertia, 1e-9)
	require.ElementsMatch(t, []int{199_999, 1}, r.Sizes)
}
