package kmeans

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sort"
)

// Streams of random numbers that are not a restart's.
const (
	streamSample = 1<<32 + iota
	streamMuesli
)

// generator is an independent stream of random numbers of the seed.
func generator(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream))
}

// sampleOf is size of the points; or all points, where these are fewer than k distinct ones.
func sampleOf(points []float32, d, size, k int, random *rand.Rand) []float32 {
	sample := stretches(points, d, size, random)
	if countDistinct(sample, d, k) < k {
		return points
	}
	return sample
}

// stretches takes one point from each of size equal stretches of the points, so that it represents their order, by time say, too.
func stretches(points []float32, d, size int, random *rand.Rand) []float32 {
	n := len(points) / d
	if n <= size {
		return points
	}
	sample := make([]float32, 0, size*d)
	for s := range size {
		from, to := s*n/size, (s+1)*n/size
		i := from + random.IntN(to-from)
		sample = append(sample, points[i*d:(i+1)*d]...)
	}
	return sample
}

// countDistinct counts distinct points, up to most.
func countDistinct(points []float32, d, most int) int {
	var seen []float32
	for i := 0; i < len(points) && len(seen) < most*d; i += d {
		x := points[i : i+d]
		known := false
		for j := 0; j < len(seen) && !known; j += d {
			known = slices.Equal(x, seen[j:j+d])
		}
		if !known {
			seen = append(seen, x...)
		}
	}
	return len(seen) / d
}

// plusPlus draws k starts by greedy k-means++ (Arthur and Vassilvitskii 2007, section 2.2 and its remark on several candidates):
// each next one is a point drawn with a probability proportional to its squared distance from the starts so far, and of 2 + log2(k)
// such draws the one that lowers the inertia most. There must be k distinct points.
func plusPlus(points []float32, d, k int, random *rand.Rand) []float32 {
	n := len(points) / d
	at := func(i int) []float32 { return points[i*d : (i+1)*d] }
	starts := slices.Clone(at(random.IntN(n)))

	gap := make([]float32, n) // squared distance to the nearest start
	for i := range gap {
		gap[i] = float32(math.Inf(1))
	}
	closeIn(gap, points, starts)
	cumulated := make([]float64, n)
	trial, best := make([]float32, n), make([]float32, n)
	for len(starts) < k*d {
		var total float64
		for i, g := range gap {
			total += float64(g)
			cumulated[i] = total
		}
		least, chosen := math.Inf(1), -1
		for range 2 + bits.Len(uint(k-1)) {
			draw := random.Float64() * total
			i := sort.Search(n-1, func(i int) bool { return cumulated[i] > draw })
			copy(trial, gap)
			if inertia := closeIn(trial, points, at(i)); inertia < least {
				least, chosen = inertia, i
				trial, best = best, trial
			}
		}
		gap, best = best, gap
		starts = append(starts, at(chosen)...)
	}
	return starts
}

// closeIn takes a further start into account and returns the sum of the gaps.
func closeIn(gap, points, start []float32) float64 {
	d := len(start)
	var total float64
	if d == 3 {
		s0, s1, s2 := start[0], start[1], start[2]
		for i := range gap {
			x := points[3*i : 3*i+3 : 3*i+3]
			d0, d1, d2 := x[0]-s0, x[1]-s1, x[2]-s2
			gap[i] = min(gap[i], d0*d0+d1*d1+d2*d2)
			total += float64(gap[i])
		}
		return total
	}
	for i := range gap {
		gap[i] = min(gap[i], squared(start, points[i*d:]))
		total += float64(gap[i])
	}
	return total
}
