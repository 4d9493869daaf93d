package kmeans

import (
	"math"
	"runtime"
)

// These bound the work of auto: a silhouette takes all distances between its points.
const (
	silhouettePoints   = 2000
	silhouetteRestarts = 10
)

// Silhouette is how well k clusters are told apart.
type Silhouette struct {
	K     int     `json:"k"`
	Value float64 `json:"value"` // -1 to 1
}

// chooseK clusters a sample of 2,000 points at each k of the range and takes the k of the greatest silhouette, the least of equals.
func chooseK(points []float32, d int, cfg Config) (int, []Silhouette) {
	sample := stretches(points, d, silhouettePoints, generator(cfg.Seed, streamSample))
	distinct := countDistinct(sample, d, cfg.KMax)
	if distinct < cfg.KMin {
		return distinct, nil
	}
	cfg.Restarts, cfg.Warm = silhouetteRestarts, nil
	var tried []Silhouette
	best := Silhouette{Value: math.Inf(-1)}
	for k := cfg.KMin; k <= min(cfg.KMax, distinct); k++ {
		cfg.K = k
		candidates := makeCandidates(sample, d, cfg)
		run := newLloyd(sample, d, candidates[choose(candidates)].centroids, 1)
		assigned, _, _ := run.finish()
		s := Silhouette{k, silhouette(sample, d, assigned, k)}
		tried = append(tried, s)
		if s.Value > best.Value {
			best = s
		}
	}
	return best.K, tried
}

// silhouette is the mean over all points of (b-a)/max(a,b): a is a point's mean distance to the others of its cluster, b the least of
// its mean distances to the other clusters; 0 for a point alone (P. J. Rousseeuw 1987). k >= 2.
func silhouette(points []float32, d int, assigned []int32, k int) float64 {
	n := len(assigned)
	sizes := make([]float64, k)
	for _, a := range assigned {
		sizes[a]++
	}
	values := make([]float64, n)
	inParallel(n, runtime.GOMAXPROCS(0), func(i int) {
		total := make([]float64, k)
		x := points[i*d : (i+1)*d]
		for other, a := range assigned {
			total[a] += float64(sqrt(squared(x, points[other*d:])))
		}
		own := assigned[i]
		if sizes[own] == 1 {
			return
		}
		a, b := total[own]/(sizes[own]-1), math.Inf(1)
		for c := range total {
			if int32(c) != own && sizes[c] > 0 {
				b = min(b, total[c]/sizes[c])
			}
		}
		if most := max(a, b); most > 0 && !math.IsInf(b, 1) {
			values[i] = (b - a) / most
		}
	})
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(n)
}
