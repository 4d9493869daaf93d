package kmeans

import "math"

// Match pairs clusters of two trainings: for each centroid of next, the index of the one of previous that it continues, or -1 for a
// new one. Both are row-major in d dimensions and in the same space. Of all pairings of the lesser with the greater number, it takes
// that of least total squared distance (assignment problem, by the Hungarian algorithm), so no cluster takes over a name that fits
// another better.
func Match(previous, next []float64, d int) []int {
	p, n := len(previous)/d, len(next)/d
	matched := make([]int, n)
	for i := range matched {
		matched[i] = -1
	}
	distance := func(i, j int) float64 {
		var s float64
		for c := range d {
			diff := next[i*d+c] - previous[j*d+c]
			s += diff * diff
		}
		return s
	}
	if n <= p {
		copy(matched, assign(n, p, distance))
		return matched
	}
	for j, i := range assign(p, n, func(j, i int) float64 { return distance(i, j) }) {
		matched[i] = j
	}
	return matched
}

// assign gives each row a column of its own at the least total cost, rows <= columns, in O(rows²·columns): the Hungarian algorithm
// with potentials, adding one row at a time along the cheapest augmenting path (Jonker and Volgenant 1987).
func assign(rows, columns int, cost func(row, column int) float64) []int {
	// Rows and columns count from 1; column 0 holds the row being added.
	rowPotential, columnPotential := make([]float64, rows+1), make([]float64, columns+1)
	rowOf := make([]int, columns+1)
	for row := 1; row <= rows; row++ {
		rowOf[0] = row
		slack := make([]float64, columns+1)
		for c := range slack {
			slack[c] = math.Inf(1)
		}
		cameFrom, visited := make([]int, columns+1), make([]bool, columns+1)
		at := 0
		for rowOf[at] != 0 {
			visited[at] = true
			least, nearest := math.Inf(1), 0
			for c := 1; c <= columns; c++ {
				if visited[c] {
					continue
				}
				reduced := cost(rowOf[at]-1, c-1) - rowPotential[rowOf[at]] - columnPotential[c]
				if reduced < slack[c] {
					slack[c], cameFrom[c] = reduced, at
				}
				if slack[c] < least {
					least, nearest = slack[c], c
				}
			}
			for c := range visited {
				if visited[c] {
					rowPotential[rowOf[c]] += least
					columnPotential[c] -= least
				} else {
					slack[c] -= least
				}
			}
			at = nearest
		}
		for at != 0 {
			rowOf[at] = rowOf[cameFrom[at]]
			at = cameFrom[at]
		}
	}
	columnOf := make([]int, rows)
	for c := 1; c <= columns; c++ {
		if rowOf[c] != 0 {
			columnOf[rowOf[c]-1] = c - 1
		}
	}
	return columnOf
}
