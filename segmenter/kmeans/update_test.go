package kmeans

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUpdate(t *testing.T) {
	scaler := Scaler{Mean: []float64{1}, SD: []float64{2}}
	model := func() Model {
		return Model{Features: []string{Monetary}, Scaler: scaler, Clusters: []Cluster{
			{Label: 1, Centroid: []float64{1}, Typical: scaler.unscale([]float64{1}), Users: 5, Share: 0.5},
			{Label: 3, Centroid: []float64{-1}, Typical: scaler.unscale([]float64{-1}), Users: 5, Share: 0.5},
		}}
	}
	measured := []Cluster{{Label: 1, Centroid: []float64{0.5}, Mean: []float64{7}, Users: 30}}

	moved := model()
	moved.Update(measured, true)
	require.Equal(t, Cluster{
		Label: 1, Name: moved.Clusters[0].Name, Centroid: []float64{0.5}, Typical: scaler.unscale([]float64{0.5}), Mean: []float64{7}, Users: 30, Share: 1,
	}, moved.Clusters[0])
	require.Zero(t, moved.Clusters[1].Users, "nobody measured")
	require.Equal(t, []float64{-1}, moved.Clusters[1].Centroid, "stays where it is")

	stayed := model()
	stayed.Update(measured, false)
	require.Equal(t, []float64{1}, stayed.Clusters[0].Centroid)
	require.Equal(t, 30, stayed.Clusters[0].Users)
	require.Equal(t, "big spenders", stayed.Clusters[0].Name)
}
