package kmeans

import (
	"fmt"
	"math"
)

// Scaler puts features on a common scale: z = (log(x) - mean) / sd, where log is sign(x)·log(1+|x|), so that refunds beyond purchases
// have a place too. Mean and SD are those of the logs of the users trained on, SD the population's; where all are equal it is 1, so
// that the feature tells nothing and breaks nothing.
type Scaler struct {
	Mean []float64 `json:"mean"`
	SD   []float64 `json:"sd"`
}

func log(x float64) float64 { return math.Copysign(math.Log1p(math.Abs(x)), x) }
func exp(y float64) float64 { return math.Copysign(math.Expm1(math.Abs(y)), y) }

// newScaler measures values (n×d, row-major).
func newScaler(values []float64, d int) Scaler {
	s := Scaler{Mean: make([]float64, d), SD: make([]float64, d)}
	n := float64(len(values) / d)
	for i, x := range values {
		s.Mean[i%d] += log(x) / n
	}
	for i, x := range values {
		diff := log(x) - s.Mean[i%d]
		s.SD[i%d] += diff * diff / n
	}
	for j, variance := range s.SD {
		s.SD[j] = math.Sqrt(variance)
		if s.SD[j] <= 1e-9*(1+math.Abs(s.Mean[j])) { // what rounding leaves of equal values
			s.SD[j] = 1
		}
	}
	return s
}

// Scale puts one user's features (d of them) on the scale.
func (s Scaler) Scale(x []float64) []float64 {
	z := make([]float64, len(x))
	for j, v := range x {
		z[j] = (log(v) - s.Mean[j]) / s.SD[j]
	}
	return z
}

// unscale is the inverse of Scale.
func (s Scaler) unscale(z []float64) []float64 {
	x := make([]float64, len(z))
	for j, v := range z {
		x[j] = exp(v*s.SD[j] + s.Mean[j])
	}
	return x
}

// transform scales values (n×d, row-major) for Fit.
func (s Scaler) transform(values []float64) []float32 {
	d := len(s.Mean)
	scaled := make([]float32, len(values))
	for i, x := range values {
		scaled[i] = float32((log(x) - s.Mean[i%d]) / s.SD[i%d])
	}
	return scaled
}

// checkValues refuses values that have no place on a scale.
func checkValues(values []float64, features []string) error {
	for i, x := range values {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("user %d, %s: %v is not a finite number", i/len(features), features[i%len(features)], x)
		}
	}
	return nil
}
