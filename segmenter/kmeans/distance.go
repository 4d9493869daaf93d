package kmeans

import "math"

// nearestTwo returns the centroid nearest to x, the first of equals, and the squared distances to it and to the next nearest
// (infinite where there is one centroid only).
//
// A squared distance is never negative, so its bits order as integers do; with the index in the lower half, the least key is the
// nearest centroid and no branch depends on the data: mispredicted branches cost more than the arithmetic.
func nearestTwo(x, centroids []float32) (nearest int32, first, second float32) {
	least, next := uint64(math.MaxUint64), uint64(math.MaxUint64)
	if len(x) == 3 {
		x := [3]float32(x)
		for j := uint64(0); len(centroids) >= 3; j++ {
			d0, d1, d2 := x[0]-centroids[0], x[1]-centroids[1], x[2]-centroids[2]
			centroids = centroids[3:]
			key := uint64(math.Float32bits(d0*d0+d1*d1+d2*d2))<<32 | j
			next = min(next, max(least, key))
			least = min(least, key)
		}
	} else {
		for j := uint64(0); len(centroids) >= len(x); j++ {
			key := uint64(math.Float32bits(squared(x, centroids)))<<32 | j
			centroids = centroids[len(x):]
			next = min(next, max(least, key))
			least = min(least, key)
		}
	}
	second = float32(math.Inf(1))
	if next != math.MaxUint64 {
		second = math.Float32frombits(uint32(next >> 32))
	}
	return int32(uint32(least)), math.Float32frombits(uint32(least >> 32)), second
}

// squared is the squared Euclidean distance of a and the first len(a) numbers of b.
func squared(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for j, v := range a {
		diff := v - b[j]
		s += diff * diff
	}
	return s
}

func sqrt(v float32) float32 { return float32(math.Sqrt(float64(v))) }
