package kmeans_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/kmeans"
)

var update = flag.Bool("update", false, "write testdata/references.json anew")

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// reference is the best inertia known, of many restarts on all users to full rest.
type reference struct {
	DataSet  string  `json:"data_set"`
	Users    int     `json:"users"`
	K        int     `json:"k"`
	Restarts int     `json:"restarts"`
	Inertia  float64 `json:"inertia"`
}

// Log RFM of real orders, k = 2 to 10, within 0.5 % of the best inertia known; of the larger set all k only with KOHORTA_SOAK.
func TestInertiaLawOfRealOrders(t *testing.T) {
	const path = "testdata/references.json"
	var references []reference
	if !*update {
		stored, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(stored, &references))
	}
	for _, set := range []dataSet{cdnow, onlineRetail} {
		users, values := table(t, set.purchases(t), set.asOf)
		step := 1
		if set.file == onlineRetail.file && !*update && os.Getenv("KOHORTA_SOAK") == "" {
			step = 4
		}
		for k := 2; k <= 10; k += step {
			if *update {
				best := kmeans.Config{K: k, Restarts: 1000, Seed: 20_000, Tolerance: 1e-7, MaxIterations: 10_000}
				_, r, err := kmeans.Train(values, features, best, nil)
				require.NoError(t, err)
				references = append(references, reference{set.file, len(users), k, best.Restarts, r.Inertia})
				continue
			}
			t.Run(fmt.Sprintf("%s k=%d", set.file, k), func(t *testing.T) {
				i := slices.IndexFunc(references, func(r reference) bool { return r.DataSet == set.file && r.K == k })
				require.GreaterOrEqual(t, i, 0, "no reference")
				require.Len(t, users, references[i].Users)
				_, r, err := kmeans.Train(values, features, kmeans.Config{K: k, Seed: 1}, nil)
				require.NoError(t, err)
				require.LessOrEqual(t, r.Inertia, references[i].Inertia*1.005)
				require.GreaterOrEqual(t, r.Inertia, references[i].Inertia*0.999, "beats the reference: run with -update")
			})
		}
	}
	if *update {
		encoded, err := json.MarshalIndent(references, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(encoded, '\n'), 0o644))
	}
}

// Trained again on one day more of orders: the two models agree on nearly all users, and nearly all users keep their label.
func TestLabelsSurviveRetraining(t *testing.T) {
	purchases := onlineRetail.purchases(t)
	usersBefore, valuesBefore := table(t, purchases, onlineRetail.asOf.Add(-24*time.Hour))
	usersAfter, valuesAfter := table(t, purchases, onlineRetail.asOf)
	for _, k := range []int{2, 6} {
		t.Run(fmt.Sprintf("k=%d", k), func(t *testing.T) {
			before, _, err := kmeans.Train(valuesBefore, features, kmeans.Config{K: k, Seed: 1}, nil)
			require.NoError(t, err)
			after, _, err := kmeans.Train(valuesAfter, features, kmeans.Config{K: k, Seed: 2}, &before)
			require.NoError(t, err)
			require.Equal(t, k, after.LastLabel)

			labels := map[string]int{}
			for i, user := range usersBefore {
				labels[user], _ = before.Assign(valuesBefore[3*i : 3*i+3])
			}
			kept, agreed := 0, 0
			for i, user := range usersAfter {
				now, _ := after.Assign(valuesAfter[3*i : 3*i+3])
				byOld, _ := before.Assign(valuesAfter[3*i : 3*i+3])
				if now == labels[user] {
					kept++
				}
				if now == byOld {
					agreed++
				}
			}
			require.Greater(t, float64(kept)/float64(len(usersBefore)), 0.94, "share of users that keep their label")
			require.Greater(t, float64(agreed)/float64(len(usersAfter)), 0.96, "share of users that both models label the same")
		})
	}
}
