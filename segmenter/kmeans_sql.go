package segmenter

import (
	"fmt"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/kmeans"
)

// The SQL of a k-means training, over the scores of its source. All that stands in the text is numbers and column names
// of ours.

// featureColumns are the features in natural units, as kmeans.Train takes them.
var featureColumns = map[string]string{
	kmeans.Recency:   "toFloat64(recency_days)",
	kmeans.Frequency: "toFloat64(frequency)",
	kmeans.Monetary:  "monetary_micros / 1e6",
}

// sampleSQL reads a sample of users, the same one whenever it is asked for.
func sampleSQL(features []string, source audience.ModelVersion, seed uint64, size int) audience.Query {
	columns := make([]string, len(features))
	for i, feature := range features {
		columns[i] = featureColumns[feature]
	}
	return audience.Query{SQL: fmt.Sprintf(
		"SELECT %s FROM scores WHERE model = %d AND version = %d ORDER BY sipHash64(user_id, %d), user_id LIMIT %d",
		strings.Join(columns, ", "), source.Model, source.Version, seed, size)}
}

// assignedSQL yields every user of the source with x0… (natural units), z0… (on the scale), nearest (squared distance) and label:
// kmeans.Model.Assign for everybody.
func assignedSQL(model kmeans.Model, source audience.ModelVersion) string {
	var natural, scaled, distances, columns, labels []string
	for j, feature := range model.Features {
		natural = append(natural, fmt.Sprintf("%s AS x%d", featureColumns[feature], j))
		scaled = append(scaled, fmt.Sprintf("(sign(x%[1]d) * log1p(abs(x%[1]d)) - %[2]s) / %[3]s AS z%[1]d",
			j, literal(model.Scaler.Mean[j]), literal(model.Scaler.SD[j])))
	}
	for i, cluster := range model.Clusters {
		var terms []string
		for j, v := range cluster.Centroid {
			terms = append(terms, fmt.Sprintf("(z%[1]d - %[2]s) * (z%[1]d - %[2]s)", j, literal(v)))
		}
		distances = append(distances, fmt.Sprintf("%s AS d%d", strings.Join(terms, " + "), i))
		columns = append(columns, fmt.Sprintf("d%d", i))
		if i < len(model.Clusters)-1 {
			labels = append(labels, fmt.Sprintf("d%d = nearest, %d", i, cluster.Label))
		}
	}
	nearest, label := "least("+strings.Join(columns, ", ")+")", "multiIf("+strings.Join(append(labels, fmt.Sprint(model.Clusters[len(model.Clusters)-1].Label)), ", ")+")"
	if len(model.Clusters) == 1 {
		nearest, label = "d0", fmt.Sprint(model.Clusters[0].Label)
	}
	return fmt.Sprintf(`SELECT user_id, %s, %s, %s, %s AS nearest, toUInt16(%s) AS label
FROM scores WHERE model = %d AND version = %d`,
		strings.Join(natural, ", "), strings.Join(scaled, ", "), strings.Join(distances, ", "), nearest, label, source.Model, source.Version)
}

// passSQL sums each cluster up: label, users, inertia, mean on the scale, mean in natural units.
func passSQL(model kmeans.Model, source audience.ModelVersion) audience.Query {
	var centroid, mean []string
	for j := range model.Features {
		centroid = append(centroid, fmt.Sprintf("avg(z%d)", j))
		mean = append(mean, fmt.Sprintf("avg(x%d)", j))
	}
	return audience.Query{SQL: fmt.Sprintf("SELECT label, count(), sum(nearest), [%s], [%s] FROM (%s) GROUP BY label ORDER BY label",
		strings.Join(centroid, ", "), strings.Join(mean, ", "), assignedSQL(model, source))}
}

// assignSQL writes everybody's label and distance.
func assignSQL(model kmeans.Model, version, source audience.ModelVersion) audience.Query {
	return audience.Query{SQL: fmt.Sprintf(`
INSERT INTO scores (model, version, user_id, label, distance)
SELECT %d, %d, user_id, label, toFloat32(sqrt(nearest)) FROM (%s) ORDER BY user_id`, version.Model, version.Version, assignedSQL(model, source))}
}
