package kmeans

import (
	"errors"
	"math/rand/v2"

	"github.com/muesli/clusters"
	"github.com/muesli/kmeans"
)

// muesliCost is how many coordinates times centroids one pass of muesli/kmeans may look at: at some 10 ns for each, and 97 passes at most,
// 0.1 s.
const muesliCost = 100_000

// muesliStart lets muesli/kmeans partition a part of the sample, scaled into [0,1] where its uniform starts make sense, and returns
// its centroids. It is deterministic; see muesliRun.
func muesliStart(sample []float32, d, k int, random *rand.Rand) []float32 {
	n := len(sample) / d
	size := min(n, max(muesliCost/(k*d), 5*k))
	low, width := box(sample, d)
	run := &muesliRun{points: size}
	points := make(clusters.Observations, 0, size)
	for s := range size {
		i := s * n / size
		unit := make(clusters.Coordinates, d)
		for j := range unit {
			unit[j] = (float64(sample[i*d+j]) - low[j]) / width[j]
		}
		points = append(points, observation{unit, run})
	}
	run.drawStarts(points, k, random)

	// 0.01, the share of moved points below which it stops, is the library's own default. The one error left is errRefilled, at which
	// the centers of the pass before stand.
	if partitioner, err := kmeans.NewWithOptions(0.01, run); err == nil {
		_, _ = partitioner.Partition(points, k)
	}

	start := make([]float32, 0, k*d)
	for _, c := range run.centers {
		for j, v := range c {
			start = append(start, float32(low[j]+v*width[j]))
		}
	}
	return start
}

// box is the least corner and the widths of the sample's bounding box; a width of 0 is made 1.
func box(sample []float32, d int) (low, width []float64) {
	low, width = make([]float64, d), make([]float64, d)
	for j := range d {
		least, most := sample[j], sample[j]
		for i := j; i < len(sample); i += d {
			least, most = min(least, sample[i]), max(most, sample[i])
		}
		low[j], width[j] = float64(least), float64(most)-float64(least)
		if width[j] == 0 {
			width[j] = 1
		}
	}
	return low, width
}

// muesliRun makes one run of muesli/kmeans repeatable. The library is random in two places, both fed by a generator that cannot be
// seeded. First, it draws its starts; but it only ever learns which is nearest by asking each observation for its distance to the
// first start, the second and so on, and during this first pass the observations answer for our starts. Second, it gives an empty
// cluster some random point; Plot, which it calls after each pass, ends the run there and keeps the centroids of the pass before.
type muesliRun struct {
	points  int
	starts  clusters.Clusters      // nil after the first pass
	calls   int                    // distances asked for in the first pass
	centers []clusters.Coordinates // after the last pass without a refill
}

// observation is a point that knows its run.
type observation struct {
	at  clusters.Coordinates
	run *muesliRun
}

func (o observation) Coordinates() clusters.Coordinates { return o.at }

func (o observation) Distance(center clusters.Coordinates) float64 {
	if r := o.run; r.starts != nil {
		center = r.starts[r.calls%len(r.starts)].Center
		r.calls++
	}
	var squares float64
	for j, v := range o.at {
		squares += (v - center[j]) * (v - center[j])
	}
	return squares
}

var errRefilled = errors.New("a cluster was empty and has been given a random point")

// Plot implements kmeans.Plotter.
func (r *muesliRun) Plot(cc clusters.Clusters, _ int) error {
	held := 0
	for _, c := range cc {
		held += len(c.Observations)
	}
	if held > r.points { // a refill copies its point
		return errRefilled
	}
	r.starts = nil
	for i, c := range cc {
		r.centers[i] = c.Center
	}
	return nil
}

// drawStarts draws the starts as the library does: uniform in [0,1]^d, and an empty one moved to a random point, until none is.
func (r *muesliRun) drawStarts(points clusters.Observations, k int, random *rand.Rand) {
	d := len(points[0].Coordinates())
	starts := make(clusters.Clusters, k)
	for a := range starts {
		for range d {
			starts[a].Center = append(starts[a].Center, random.Float64())
		}
	}
	for range 10 {
		owned := make([]bool, k)
		for _, p := range points {
			owned[starts.Nearest(p)] = true
		}
		done := true
		for a := range starts {
			if !owned[a] {
				starts[a].Center = points[random.IntN(len(points))].Coordinates()
				done = false
			}
		}
		if done {
			break
		}
	}
	r.starts = starts
	r.centers = make([]clusters.Coordinates, k)
	for a, s := range starts {
		r.centers[a] = s.Center
	}
}
