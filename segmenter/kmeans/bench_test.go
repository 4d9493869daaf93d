package kmeans

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/muesli/clusters"
	muesli "github.com/muesli/kmeans"
	"github.com/stretchr/testify/require"
)

// customers are the log-scaled, standardised recency, frequency and monetary value of n invented users: each buys at a rate and for
// an amount of its own, both log-normal, over a year, and may have left on the way.
func customers(n int) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 0, 3*n)
	for range n {
		rate := math.Exp(1.2 * random.NormFloat64()) // purchases a month
		alive := 12 * math.Sqrt(random.Float64())    // months
		frequency := math.Ceil(rate*alive*random.ExpFloat64()) + 1
		recency := math.Floor(30 * (12 - alive + random.ExpFloat64()*alive/frequency))
		amount := math.Exp(3 + 0.8*random.NormFloat64())
		values = append(values, recency, frequency, frequency*amount)
	}
	return newScaler(values, 3).transform(values)
}

// BenchmarkFitVsMuesli is 3 features, k = 8, against muesli/kmeans as it comes, on the same points scaled into [0,1] as it wants
// them, its partition's inertia taken in the original space. With KOHORTA_BENCH=1 it is 1 M users, else 50,000.
//
//	KOHORTA_BENCH=1 go test ./segmenter/kmeans -run - -bench FitVsMuesli -benchtime 3x
func BenchmarkFitVsMuesli(b *testing.B) {
	n := 50_000
	if os.Getenv("KOHORTA_BENCH") == "1" {
		n = 1_000_000
	}
	const d, k = 3, 8
	points := customers(n)

	theirTime, theirInertia := muesliAlone(b, points, d, k)

	b.ReportAllocs()
	var r Result
	var err error
	for b.Loop() {
		r, err = Fit(points, d, Config{K: k, Seed: 1})
		require.NoError(b, err)
	}
	ourTime := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(theirTime.Seconds()/ourTime.Seconds(), "times-faster")
	b.ReportMetric(r.Inertia/theirInertia, "inertia/muesli's")
	b.ReportMetric(theirTime.Seconds(), "muesli-s")
	b.ReportMetric(float64(n)/ourTime.Seconds(), "users/s")
	require.LessOrEqual(b, r.Inertia, theirInertia, "no worse than muesli")
}

func muesliAlone(b *testing.B, points []float32, d, k int) (took time.Duration, inertia float64) {
	low, width := box(points, d)
	var dataset clusters.Observations
	for i := 0; i < len(points); i += d {
		unit := make(clusters.Coordinates, d)
		for j := range unit {
			unit[j] = (float64(points[i+j]) - low[j]) / width[j]
		}
		dataset = append(dataset, unit)
	}
	began := time.Now()
	partition, err := muesli.New().Partition(dataset, k)
	took = time.Since(began)
	require.NoError(b, err)
	var centroids []float32
	for _, c := range partition {
		for j, v := range c.Center {
			centroids = append(centroids, float32(low[j]+v*width[j]))
		}
	}
	_, _, inertia = newLloyd(points, d, centroids, 1).finish()
	return took, inertia
}
