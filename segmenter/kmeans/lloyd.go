package kmeans

import (
	"math"
)

// chunkPoints is how many points one partial sum covers. It is fixed, so that sums do not depend on the number of workers.
const chunkPoints = 8192

// lloyd runs Lloyd's algorithm with the bounds of G. Hamerly, "Making k-means even faster" (2010): a point stays where it is, without
// a distance computed, while its upper bound on the distance to its centroid is below both its lower bound on the distance to every
// other one, and half the distance from its centroid to the nearest other.
type lloyd struct {
	points    []float32 // n×d
	d, k      int
	centroids []float32 // k×d
	workers   int

	assigned     []int32
	upper, lower []float32
	moved        []float32 // how far each centroid moved in the last update
	othersMoved  []float32 // how far the farthest-moving of the other centroids moved
	half         []float32 // half the distance to the nearest other centroid

	sums       []float64 // k×(d+1): sum of the points of each centroid, then their number
	deltas     []float64 // the same for each chunk: what the last pass added and took away
	iterations int
}

func newLloyd(points []float32, d int, start []float32, workers int) *lloyd {
	n, k := len(points)/d, len(start)/d
	chunks := (n + chunkPoints - 1) / chunkPoints
	l := &lloyd{
		points: points, d: d, k: k, workers: workers,
		centroids:   append([]float32(nil), start...),
		assigned:    make([]int32, n),
		upper:       make([]float32, n),
		lower:       make([]float32, n),
		moved:       make([]float32, k),
		othersMoved: make([]float32, k),
		half:        make([]float32, k),
		sums:        make([]float64, k*(d+1)),
		deltas:      make([]float64, chunks*k*(d+1)),
	}
	for i := range l.assigned {
		l.assigned[i] = -1
	}
	l.forget()
	return l
}

// forget makes the next pass compute every distance.
func (l *lloyd) forget() {
	inf := float32(math.Inf(1))
	for i := range l.upper {
		l.upper[i], l.lower[i] = inf, 0
	}
}

// iterate makes passes until no centroid moves farther than rest, or most passes are done.
func (l *lloyd) iterate(most int, rest float64) {
	for l.iterations < most {
		if l.step() <= rest {
			return
		}
	}
}

// step assigns all points, moves the centroids to their means and returns the greatest move. Inertia does not rise.
func (l *lloyd) step() float64 {
	l.iterations++
	l.findHalves()
	chunks := (len(l.assigned) + chunkPoints - 1) / chunkPoints
	inParallel(chunks, l.workers, l.assignChunk)
	for c := range chunks {
		size := len(l.sums)
		for i, delta := range l.deltas[c*size : (c+1)*size] {
			l.sums[i] += delta
		}
	}
	return l.update()
}

// findHalves finds half the distance from each centroid to the nearest other.
func (l *lloyd) findHalves() {
	for a := range l.k {
		nearest := float32(math.Inf(1))
		for b := range l.k {
			if a != b {
				nearest = min(nearest, squared(l.centroid(a), l.centroid(b)))
			}
		}
		l.half[a] = sqrt(nearest) / 2
	}
}

// assignChunk assigns the points of chunk c and writes what that changes in the sums.
func (l *lloyd) assignChunk(c int) {
	size := len(l.sums)
	delta := l.deltas[c*size : (c+1)*size]
	clear(delta)
	d := l.d
	end := min((c+1)*chunkPoints, len(l.assigned))
	for i := c * chunkPoints; i < end; i++ {
		a := l.assigned[i]
		if a >= 0 {
			upper, lower := l.upper[i]+l.moved[a], l.lower[i]-l.othersMoved[a]
			l.upper[i], l.lower[i] = upper, lower
			bound := max(lower, l.half[a])
			if upper < bound {
				continue
			}
			upper = sqrt(squared(l.points[i*d:i*d+d], l.centroids[int(a)*d:int(a)*d+d]))
			l.upper[i] = upper
			if upper < bound {
				continue
			}
		}
		x := l.points[i*d : i*d+d]
		nearest, first, second := nearestTwo(x, l.centroids)
		l.upper[i], l.lower[i] = sqrt(first), sqrt(second)
		if nearest == a {
			continue
		}
		l.assigned[i] = nearest
		add(delta[int(nearest)*(d+1):], x, 1)
		if a >= 0 {
			add(delta[int(a)*(d+1):], x, -1)
		}
	}
}

// add adds x, sign times, to the sum of a cluster and to its number of points.
func add(sum []float64, x []float32, sign float64) {
	sum = sum[:len(x)+1]
	for j, v := range x {
		sum[j] += sign * float64(v)
	}
	sum[len(x)] += sign
}

// update moves the centroids to the means of their points and returns the greatest move. An empty cluster is given the point that
// is farthest from its centroid; since no point was its own, inertia can only fall.
func (l *lloyd) update() float64 {
	d := l.d
	var empty []int
	for a := range l.k {
		sum := l.sums[a*(d+1) : (a+1)*(d+1)]
		if sum[d] == 0 {
			empty = append(empty, a)
			l.moved[a] = 0
			continue
		}
		var squares float64
		for j, s := range sum[:d] {
			mean := float32(s / sum[d])
			step := float64(mean) - float64(l.centroids[a*d+j])
			squares += step * step
			l.centroids[a*d+j] = mean
		}
		l.moved[a] = float32(math.Sqrt(squares))
	}
	if len(empty) > 0 {
		l.refill(empty)
		return math.Inf(1)
	}
	first, second := float32(0), float32(0)
	fastest := 0
	for a, m := range l.moved {
		if m > first {
			first, second, fastest = m, first, a
		} else {
			second = max(second, m)
		}
	}
	for a := range l.othersMoved {
		l.othersMoved[a] = first
	}
	l.othersMoved[fastest] = second
	return float64(first)
}

// refill puts each empty centroid on the point that is farthest from its nearest centroid, the first of equals.
func (l *lloyd) refill(empty []int) {
	for _, a := range empty {
		farthest, most := 0, float32(-1)
		for i := range l.assigned {
			if _, first, _ := nearestTwo(l.points[i*l.d:(i+1)*l.d], l.centroids); first > most {
				farthest, most = i, first
			}
		}
		copy(l.centroid(a), l.points[farthest*l.d:(farthest+1)*l.d])
	}
	clear(l.moved)
	clear(l.othersMoved)
	l.forget()
}

// finish assigns every point to its nearest centroid as it is now, and returns the assignments, sizes and inertia.
func (l *lloyd) finish() (assigned []int32, sizes []int, inertia float64) {
	n, d := len(l.assigned), l.d
	chunks := (n + chunkPoints - 1) / chunkPoints
	parts := make([]float64, chunks)
	inParallel(chunks, l.workers, func(c int) {
		for i := c * chunkPoints; i < min((c+1)*chunkPoints, n); i++ {
			x := l.points[i*d : i*d+d]
			a, _, _ := nearestTwo(x, l.centroids)
			l.assigned[i] = a
			for j, v := range x {
				step := float64(v) - float64(l.centroids[int(a)*d+j])
				parts[c] += step * step
			}
		}
	})
	sizes = make([]int, l.k)
	for _, a := range l.assigned {
		sizes[a]++
	}
	for _, part := range parts {
		inertia += part
	}
	return l.assigned, sizes, inertia
}

func (l *lloyd) centroid(a int) []float32 { return l.centroids[a*l.d : (a+1)*l.d] }
