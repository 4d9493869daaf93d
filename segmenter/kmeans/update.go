package kmeans

// Update takes over what was measured over everybody, for a model trained on a sample: of each cluster, by its label, the users,
// their mean in natural units and their mean on the scale. With move, that last becomes the centroid (one step of Lloyd's algorithm
// over everybody); without, the centroids stay and only the profiles follow. Clusters not given have no users. Names are made anew.
func (m *Model) Update(measured []Cluster, move bool) {
	var total int
	byLabel := make(map[int]Cluster, len(measured))
	for _, c := range measured {
		byLabel[c.Label] = c
		total += c.Users
	}
	for i := range m.Clusters {
		c := &m.Clusters[i]
		of, any := byLabel[c.Label]
		c.Users, c.Share = of.Users, 0
		if !any {
			continue
		}
		c.Mean, c.Share = of.Mean, float64(of.Users)/float64(total)
		if move {
			c.Centroid, c.Typical = of.Centroid, m.Scaler.unscale(of.Centroid)
		}
	}
	nameClusters(*m)
}
