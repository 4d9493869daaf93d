package kmeans

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Features with a meaning of their own in names; any others may stand beside them.
const (
	Recency   = "recency"   // days
	Frequency = "frequency" // purchases
	Monetary  = "monetary"  // currency units, not micros: the logarithm of a sum and of a million times that sum tell different things
)

// Model is a trained clustering: everything that assigning users needs, and what people want to read. It is stored as JSON and safe
// for concurrent use.
type Model struct {
	Features  []string  `json:"features"`
	Scaler    Scaler    `json:"scaler"`
	Clusters  []Cluster `json:"clusters"`   // by ascending label
	LastLabel int       `json:"last_label"` // the greatest label ever given: one that went is not given again
}

// Cluster is one centroid and its profile. Slices are in the order of Model.Features.
type Cluster struct {
	Label    int       `json:"label"`    // >= 1; the same cluster keeps it across trainings
	Name     string    `json:"name"`     // such as "recent frequent big spenders"; unique within the model
	Centroid []float64 `json:"centroid"` // on the scale of Model.Scaler
	Typical  []float64 `json:"typical"`  // the centroid in natural units: a mean of logs, which a few large values do not move
	Mean     []float64 `json:"mean"`     // mean in natural units of the users trained on
	Users    int       `json:"users"`    // of those trained on
	Share    float64   `json:"share"`    // of those trained on, 0 to 1
}

// Train clusters users by values (n×len(features), row-major, natural units, not changed). The Result tells how it went; its
// indices are not labels.
//
// Given the previous model (else nil) its centroids are one more start, and clusters keep their labels as Match finds them again; new
// ones get labels never given before. Where there is nothing to keep, labels count from 1 by descending typical value of the last
// feature, as a rule monetary.
func Train(values []float64, features []string, cfg Config, previous *Model) (Model, Result, error) {
	d := len(features)
	if err := checkFeatures(features); err != nil {
		return Model{}, Result{}, err
	}
	if len(values)%d != 0 {
		return Model{}, Result{}, fmt.Errorf("%d values are no whole number of users of %d features", len(values), d)
	}
	if err := checkValues(values, features); err != nil {
		return Model{}, Result{}, err
	}
	m := Model{Features: slices.Clone(features), Scaler: newScaler(values, d)}
	old := m.rescale(previous)
	cfg.Warm = make([]float32, len(old))
	for i, v := range old {
		cfg.Warm[i] = float32(v)
	}
	r, err := Fit(m.Scaler.transform(values), d, cfg)
	if err != nil {
		return Model{}, Result{}, err
	}
	m.Clusters = m.profile(values, r)
	m.label(previous, old)
	nameClusters(m)
	return m, r, nil
}

// Assign returns the label of the nearest centroid to one user's features, in natural units, and the distance to it on the scale; of
// equally near ones, the least label. SQL that assigns everybody computes the same, in float64:
//
//	z_j = (sign(x_j) * log1p(abs(x_j)) - mean_j) / sd_j
//	d_c = Σ_j (z_j - centroid_cj)²         label = that of the least d_c, distance = sqrt(d_c)
func (m Model) Assign(x []float64) (label int, distance float64) {
	z := m.Scaler.Scale(x)
	least := math.Inf(1)
	for _, c := range m.Clusters {
		var s float64
		for j, v := range c.Centroid {
			s += (z[j] - v) * (z[j] - v)
		}
		if s < least {
			least, label = s, c.Label
		}
	}
	return label, math.Sqrt(least)
}

// rescale returns the centroids of previous, in the order of its clusters, on the scale of m; none where its features are others.
func (m Model) rescale(previous *Model) []float64 {
	if previous == nil || !slices.Equal(previous.Features, m.Features) {
		return nil
	}
	var centroids []float64
	for _, c := range previous.Clusters {
		centroids = append(centroids, m.Scaler.Scale(previous.Scaler.unscale(c.Centroid))...)
	}
	return centroids
}

// profile sums up the users of each centroid.
func (m Model) profile(values []float64, r Result) []Cluster {
	d := len(m.Features)
	clusters := make([]Cluster, r.K)
	for a := range clusters {
		c := Cluster{Users: r.Sizes[a], Share: float64(r.Sizes[a]) / float64(len(r.Assignments)), Mean: make([]float64, d)}
		for _, v := range r.Centroids[a*d : (a+1)*d] {
			c.Centroid = append(c.Centroid, float64(v))
		}
		c.Typical = m.Scaler.unscale(c.Centroid)
		clusters[a] = c
	}
	for i, x := range values {
		c := clusters[r.Assignments[i/d]]
		c.Mean[i%d] += x / float64(c.Users)
	}
	return clusters
}

// label gives clusters the labels of those of previous that they continue (old: its centroids on the scale of m), new ones to the
// others, and sorts by label.
func (m *Model) label(previous *Model, old []float64) {
	if previous != nil {
		m.LastLabel = previous.LastLabel
	}
	last := len(m.Features) - 1
	slices.SortStableFunc(m.Clusters, func(a, b Cluster) int { return cmp.Compare(b.Typical[last], a.Typical[last]) })
	var centroids []float64
	for _, c := range m.Clusters {
		centroids = append(centroids, c.Centroid...)
	}
	for i, match := range Match(old, centroids, len(m.Features)) {
		if match >= 0 {
			m.Clusters[i].Label = previous.Clusters[match].Label
			continue
		}
		m.LastLabel++
		m.Clusters[i].Label = m.LastLabel
	}
	slices.SortFunc(m.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Label, b.Label) })
}

func checkFeatures(features []string) error {
	if len(features) == 0 {
		return errors.New("features: none; name at least one, such as recency, frequency, monetary")
	}
	for i, f := range features {
		if f == "" {
			return fmt.Errorf("features[%d]: empty; give it a name", i)
		}
		if slices.Contains(features[:i], f) {
			return fmt.Errorf("features[%d]: %s is named twice", i, f)
		}
	}
	return nil
}
