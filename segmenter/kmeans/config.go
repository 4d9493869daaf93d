package kmeans

import (
	"errors"
	"fmt"
	"math"
)

const maxK = 1000 // more clusters than people could tell apart, or SQL should inline

// Validate returns nil or every violation, joined, each "field: what is wrong and what would be right".
func (c Config) Validate() error {
	var errs []error
	between := func(field string, value, low, high int) {
		if value != 0 && (value < low || value > high) {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", field, value, low, high))
		}
	}
	between("k", c.K, 1, maxK)
	between("k_min", c.KMin, 2, maxK)
	between("k_max", c.KMax, 2, maxK)
	between("restarts", c.Restarts, 1, 1000)
	between("sample", c.Sample, 100, 10_000_000)
	between("max_iterations", c.MaxIterations, 1, 100_000)
	if c.KMin > 0 && c.KMax > 0 && c.KMin > c.KMax {
		errs = append(errs, fmt.Errorf("k_min: %d exceeds k_max, %d", c.KMin, c.KMax))
	}
	if !(c.Tolerance >= 0 && c.Tolerance < 1) {
		errs = append(errs, fmt.Errorf("tolerance: %v is not at least 0 and below 1", c.Tolerance))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orDefault := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	orDefault(&c.KMin, 2)
	orDefault(&c.KMax, max(10, c.KMin))
	orDefault(&c.Sample, 25_000)
	orDefault(&c.MaxIterations, 300)
	if c.Tolerance == 0 {
		c.Tolerance = 1e-3
	}
	return c
}

// checkPoints refuses what has no nearest centroid. Magnitudes are bounded so that squared distances stay finite in float32.
func checkPoints(points []float32, d int) error {
	const most = 1e15
	switch {
	case d < 1:
		return fmt.Errorf("d: %d dimensions; there must be at least one", d)
	case len(points) == 0:
		return fmt.Errorf("no points: %w", ErrTooFew)
	case len(points)%d != 0:
		return fmt.Errorf("%d numbers are no whole number of points of %d dimensions", len(points), d)
	}
	for i, x := range points {
		if !(math.Abs(float64(x)) <= most) {
			return fmt.Errorf("point %d, dimension %d: %v is not a number between -1e15 and 1e15", i/d, i%d, x)
		}
	}
	return nil
}
