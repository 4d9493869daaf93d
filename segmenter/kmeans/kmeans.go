// Package kmeans finds k centroids with the least inertia (sum of squared distances of the points to their nearest centroid).
//
// [Fit] is the mathematics: flat float32 in, centroids out. [Train] wraps it for users: features on a log scale, labels that stay
// the same when trained again, names that people can read. Neither knows what a user is, a clock or a store.
//
// # How
//
// Candidates are made on a sample and the best goes on to all points: the centroids of the model before (warm start), Restarts runs
// from greedy k-means++ (Arthur and Vassilvitskii 2007), and one of github.com/muesli/kmeans. Each is refined on the sample by the
// same passes: Lloyd's algorithm with the bounds of Hamerly (2010), which skip most distances without changing the outcome.
//
// # Same seed, same answer
//
// The answer depends on points, their order, config and seed, not on the number of processors: points are worked off in fixed
// chunks, partial sums are float64 and are added in the order of the chunks. That holds with muesli/kmeans too, though it draws its
// starts, uniformly from [0,1]^d, from a generator that cannot be seeded: it asks each observation for its distance to each start in
// a known order, and our observations answer for starts drawn from our seed instead (muesli.go). Since that leans on how v0.3.1 is
// written, its candidate is taken only where it is clearly better: by more than 0.01 % of the inertia.
package kmeans

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// ErrTooFew says that there are fewer (distinct) points than clusters asked for.
var ErrTooFew = errors.New("fewer distinct points than clusters")

const (
	// clearly is the share of inertia by which muesli/kmeans must be better than our own candidates.
	clearly = 0.0001
	// loyalty is the share of inertia by which the warm start may be worse than the others and still be kept: a model trained again
	// should move users because they changed, not because another start came out a little better.
	loyalty = 0.002
)

// Config says how to cluster. The zero value is valid.
type Config struct {
	// K is the number of clusters, 1 to 1000. 0 means auto: the best silhouette from KMin to KMax.
	K int `json:"k,omitempty" yaml:"k,omitempty"`
	// KMin is the least k that auto tries. 0 means 2.
	KMin int `json:"k_min,omitempty" yaml:"k_min,omitempty"`
	// KMax is the greatest k that auto tries. 0 means 10, or KMin where that is more.
	KMax int `json:"k_max,omitempty" yaml:"k_max,omitempty"`
	// Seed chooses the random numbers. Same seed, same points: same answer.
	Seed uint64 `json:"seed,omitempty" yaml:"seed,omitempty"`
	// Restarts is how many k-means++ starts are tried, 1 to 1000. 0 means 500,000 / points of the sample, within 25 and 100: on a
	// few thousand real users 20 do not always come within 0.5 % of the best, 40 do.
	Restarts int `json:"restarts,omitempty" yaml:"restarts,omitempty"`
	// Sample is how many points candidates are made on; all points take part in the last passes. 0 means 25,000.
	Sample int `json:"sample,omitempty" yaml:"sample,omitempty"`
	// MaxIterations ends passes that do not come to rest. 0 means 300.
	MaxIterations int `json:"max_iterations,omitempty" yaml:"max_iterations,omitempty"`
	// Tolerance is the greatest move of a centroid that counts as rest, as a share of the points' root mean square distance from
	// their mean. 0 means 0.001, which leaves the inertia within about 0.00001 of rest.
	Tolerance float64 `json:"tolerance,omitempty" yaml:"tolerance,omitempty"`
	// Warm holds centroids (k×d, row-major) to start from too; another number of them than k is ignored.
	Warm []float32 `json:"-" yaml:"-"`
}

// Result is a finished clustering.
type Result struct {
	K           int
	Centroids   []float32 // k×d, row-major
	Assignments []int32   // nearest centroid of each point
	Sizes       []int     // points of each centroid
	Inertia     float64   // over all points
	Iterations  int       // passes over all points
	Candidates  []Candidate
	Silhouettes []Silhouette // of each k that auto tried
}

// Muesli is the source of the candidate that github.com/muesli/kmeans starts.
const Muesli = "muesli/kmeans"

// Candidate is one start, refined on the sample.
type Candidate struct {
	Source  string  `json:"source"`  // "warm start", "kmeans++ #3", Muesli
	Inertia float64 `json:"inertia"` // over the sample
	Chosen  bool    `json:"chosen,omitempty"`

	centroids []float32
	handicap  float64 // share of the inertia added (or taken off) when candidates are compared
}

// Fit clusters points (n×d, row-major, not changed).
//
// Errors name the field of the config or the point at fault; ErrTooFew where k exceeds the number of distinct points.
// With K = 0 the range of k shrinks to what the distinct points allow, down to one cluster where all are equal.
func Fit(points []float32, d int, cfg Config) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	if err := checkPoints(points, d); err != nil {
		return Result{}, err
	}
	cfg = cfg.withDefaults()
	var silhouettes []Silhouette
	if cfg.K == 0 {
		cfg.K, silhouettes = chooseK(points, d, cfg)
	}
	if distinct := countDistinct(points, d, cfg.K); distinct < cfg.K {
		return Result{}, fmt.Errorf("k: %d clusters of %d points, %d of them distinct: %w; ask for at most %d",
			cfg.K, len(points)/d, distinct, ErrTooFew, distinct)
	}
	sample := sampleOf(points, d, cfg.Sample, cfg.K, generator(cfg.Seed, streamSample))
	if cfg.Restarts == 0 {
		cfg.Restarts = min(max(500_000*d/len(sample), 25), 100)
	}
	candidates := makeCandidates(sample, d, cfg)
	best := choose(candidates)
	candidates[best].Chosen = true

	run := newLloyd(points, d, candidates[best].centroids, runtime.GOMAXPROCS(0))
	run.iterate(cfg.MaxIterations, cfg.Tolerance*spread(sample, d))
	r := Result{
		K:           cfg.K,
		Centroids:   run.centroids,
		Iterations:  run.iterations,
		Candidates:  candidates,
		Silhouettes: silhouettes,
	}
	r.Assignments, r.Sizes, r.Inertia = run.finish()
	return r, nil
}

// makeCandidates refines every start on the sample, as many at once as there are processors; their order is fixed.
func makeCandidates(sample []float32, d int, cfg Config) []Candidate {
	var candidates []Candidate
	var starts []func() []float32
	add := func(source string, handicap float64, start func() []float32) {
		candidates = append(candidates, Candidate{Source: source, handicap: handicap})
		starts = append(starts, start)
	}
	if len(cfg.Warm) == cfg.K*d {
		add("warm start", -loyalty, func() []float32 { return cfg.Warm })
	}
	for i := range cfg.Restarts {
		add(fmt.Sprintf("kmeans++ #%d", i+1), 0, func() []float32 {
			return plusPlus(sample, d, cfg.K, generator(cfg.Seed, uint64(i)))
		})
	}
	if cfg.K > 1 {
		add(Muesli, clearly, func() []float32 {
			return muesliStart(sample, d, cfg.K, generator(cfg.Seed, streamMuesli))
		})
	}

	rest := cfg.Tolerance * spread(sample, d)
	inParallel(len(starts), runtime.GOMAXPROCS(0), func(i int) {
		run := newLloyd(sample, d, starts[i](), 1)
		run.iterate(cfg.MaxIterations, rest)
		candidates[i].centroids = run.centroids
		_, _, candidates[i].Inertia = run.finish()
	})
	return candidates
}

// choose is the candidate of least inertia after handicaps, the first of equals.
func choose(candidates []Candidate) int {
	best := 0
	for i, c := range candidates {
		if c.Inertia*(1+c.handicap) < candidates[best].Inertia*(1+candidates[best].handicap) {
			best = i
		}
	}
	return best
}

// spread is the root mean square distance of the points from their mean.
func spread(points []float32, d int) float64 {
	n := float64(len(points) / d)
	var total float64
	for j := range d {
		var sum, squares float64
		for i := j; i < len(points); i += d {
			sum += float64(points[i])
		}
		mean := sum / n
		for i := j; i < len(points); i += d {
			squares += (float64(points[i]) - mean) * (float64(points[i]) - mean)
		}
		total += squares / n
	}
	return math.Sqrt(total)
}

// inParallel calls work(0) to work(n-1) from at most workers goroutines and returns when all are done.
func inParallel(n, workers int, work func(i int)) {
	if workers = min(workers, n); workers <= 1 {
		for i := range n {
			work(i)
		}
		return
	}
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	wg.Wait()
}
