package segmenter

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/kmeans"
)

func TestKMeansNotesNameTheChosenCandidateFirst(t *testing.T) {
	result := kmeans.Result{K: 4, Candidates: []kmeans.Candidate{
		{Source: "kmeans++ #1", Inertia: 1013.5}, {Source: "kmeans++ #2", Inertia: 988.25, Chosen: true}, {Source: "kmeans++ #3", Inertia: 990},
		{Source: kmeans.Muesli, Inertia: 1020},
	}, Silhouettes: []kmeans.Silhouette{{K: 4, Value: 0.5}}}
	require.Equal(t, []string{
		"trained on 793 users, k = 4", "chosen: kmeans++ #2, inertia 988.25", "muesli/kmeans: inertia 1020",
		"2 others: inertia 990 to 1013.5", "silhouette of k = 4: 0.5000",
	}, kmeansNotes(result, 793))

	result = kmeans.Result{K: 1, Candidates: []kmeans.Candidate{{Source: kmeans.Muesli, Inertia: 7, Chosen: true}}}
	require.Equal(t, []string{"trained on 9 users, k = 1", "chosen: muesli/kmeans, inertia 7"}, kmeansNotes(result, 9))
}
