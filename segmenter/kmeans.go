package segmenter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/kmeans"
)

// defaultSample is how many users a k-means model is trained on.
const defaultSample = 100_000

// refinements is how many passes over everybody, in the database, follow the training on a sample at most. From centroids at
// rest on a sample this large, further passes change nothing measurable.
const refinements = 3

// atRest is the share by which a pass must lower the inertia for another to follow.
const atRest = 1e-5

// trainKMeans learns centroids from a sample of the source's users, refines them over everybody inside the database, and
// assigns everybody there with one statement: users never leave ClickHouse.
func (s *Segmenter) trainKMeans(ctx context.Context, model audience.Model, version *audience.ModelVersion, progress Progress) (kmeans.Model, []string, error) {
	source, err := s.kmeansSource(ctx, model.KMeans.Source)
	if err != nil {
		return kmeans.Model{}, nil, err
	}
	version.AsOf = source.AsOf
	previous, err := s.previousKMeans(ctx, model)
	if err != nil {
		return kmeans.Model{}, nil, err
	}
	features := kmeansFeatures(model.KMeans.Features)

	progress("reading a sample", 0, source.Users)
	values, err := s.kmeansSample(ctx, *model.KMeans, source, features)
	if err != nil {
		return kmeans.Model{}, nil, fmt.Errorf("read a sample: %w", err)
	}
	progress("training", 0, source.Users)
	learned, result, err := kmeans.Train(values, features, kmeansConfig(*model.KMeans), previous)
	if errors.Is(err, kmeans.ErrTooFew) {
		return kmeans.Model{}, nil, audience.Invalid("k_means.k", "%s", strings.TrimPrefix(err.Error(), "k: "))
	}
	if err != nil {
		return kmeans.Model{}, nil, fmt.Errorf("fit: %w", err)
	}
	notes := kmeansNotes(result, len(values)/len(features))

	progress("refining over everybody", 0, source.Users)
	last := math.Inf(1)
	for pass := 1; ; pass++ {
		clusters, inertia, err := s.kmeansPass(ctx, learned, source)
		if err != nil {
			return kmeans.Model{}, nil, fmt.Errorf("refine: %w", err)
		}
		notes = append(notes, fmt.Sprintf("everybody, pass %d: inertia %.6g", pass, inertia))
		rest := pass > refinements || inertia > last*(1-atRest)
		learned.Update(clusters, !rest)
		if rest {
			break
		}
		last = inertia
	}

	progress("assigning users", 0, source.Users)
	if err := s.Database.Exec(ctx, assignSQL(learned, *version, source)); err != nil {
		return kmeans.Model{}, nil, fmt.Errorf("assign: %w", err)
	}
	version.Users = source.Users
	return learned, notes, nil
}

// kmeansSource is the published version of the RFM model whose scores are clustered.
func (s *Segmenter) kmeansSource(ctx context.Context, id audience.ModelID) (audience.ModelVersion, error) {
	source, err := s.sourceModel(ctx, id)
	if err != nil {
		return audience.ModelVersion{}, err
	}
	if source.Version == 0 {
		return audience.ModelVersion{}, fmt.Errorf("its source models/%s has not been trained; train it first: %w", id, audience.ErrPrecondition)
	}
	return s.Catalogue.ModelVersion(ctx, source.Number, source.Version)
}

// previousKMeans is what the published version learned, whose labels are kept; nil for the first training.
func (s *Segmenter) previousKMeans(ctx context.Context, model audience.Model) (*kmeans.Model, error) {
	if model.Version == 0 {
		return nil, nil
	}
	version, err := s.Catalogue.ModelVersion(ctx, model.Number, model.Version)
	if err != nil {
		return nil, fmt.Errorf("read version %d: %w", model.Version, err)
	}
	var previous kmeans.Model
	if err := json.Unmarshal([]byte(version.Fitted), &previous); err != nil {
		return nil, fmt.Errorf("read what version %d learned: %w", model.Version, err)
	}
	return &previous, nil
}

func kmeansFeatures(features []string) []string {
	if len(features) == 0 {
		return []string{kmeans.Recency, kmeans.Frequency, kmeans.Monetary}
	}
	return features
}

// kmeansSample reads the features of some users, in natural units, row-major: the same ones for the same users and seed.
func (s *Segmenter) kmeansSample(ctx context.Context, spec audience.KMeansSpec, source audience.ModelVersion, features []string) ([]float64, error) {
	size := cmp.Or(spec.Sample, defaultSample)
	values := make([]float64, 0, min(int64(size), source.Users)*int64(len(features)))
	row := make([]float64, len(features))
	dest := make([]any, len(features))
	for i := range row {
		dest[i] = &row[i]
	}
	err := s.Database.Select(ctx, sampleSQL(features, source, spec.Seed, size), func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		values = append(values, row...)
		return nil
	})
	return values, err
}

// kmeansPass assigns everybody to the nearest centroid and sums up each cluster: users, mean in natural units, and the
// mean on the scale, which is the centroid one step of Lloyd's algorithm further. Inertia is that before the step.
func (s *Segmenter) kmeansPass(ctx context.Context, model kmeans.Model, source audience.ModelVersion) ([]kmeans.Cluster, float64, error) {
	var clusters []kmeans.Cluster
	var total float64
	err := s.Database.Select(ctx, passSQL(model, source), func(scan func(...any) error) error {
		var label uint16
		var users uint64
		var inertia float64
		var c kmeans.Cluster
		if err := scan(&label, &users, &inertia, &c.Centroid, &c.Mean); err != nil {
			return err
		}
		c.Label, c.Users = int(label), int(users)
		clusters = append(clusters, c)
		total += inertia
		return nil
	})
	return clusters, total, err
}

// kmeansNotes says how the training went: the chosen candidate, that of muesli/kmeans, and the others in one line.
func kmeansNotes(result kmeans.Result, sampled int) []string {
	notes := []string{fmt.Sprintf("trained on %d users, k = %d", sampled, result.K)}
	var others []float64
	for _, c := range result.Candidates {
		switch {
		case c.Chosen:
			notes = slices.Insert(notes, 1, fmt.Sprintf("chosen: %s, inertia %.6g", c.Source, c.Inertia))
		case c.Source == kmeans.Muesli:
			notes = append(notes, fmt.Sprintf("%s: inertia %.6g", c.Source, c.Inertia))
		default:
			others = append(others, c.Inertia)
		}
	}
	if len(others) > 0 {
		notes = append(notes, fmt.Sprintf("%d others: inertia %.6g to %.6g", len(others), slices.Min(others), slices.Max(others)))
	}
	for _, silhouette := range result.Silhouettes {
		notes = append(notes, fmt.Sprintf("silhouette of k = %d: %.4f", silhouette.K, silhouette.Value))
	}
	return notes
}
