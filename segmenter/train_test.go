package segmenter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter"
)

func purchase(user string, value int64) audience.Event {
	return audience.Event{
		User: audience.UserID(user), ID: "1", Type: "purchase", ValueMicros: value * 1e6, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// buyers are n users with a purchase each, of the value that value gives.
func buyers(n int, value func(i int) int64) []audience.Event {
	events := make([]audience.Event, n)
	for i := range events {
		events[i] = purchase(fmt.Sprintf("user-%04d", i), value(i))
	}
	return events
}

func (h house) model(t *testing.T, m audience.Model) audience.Model {
	t.Helper()
	created, err := h.store.Models().Create(t.Context(), m)
	require.NoError(t, err)
	return created
}

// TestTrainOnLittle trains where there is next to nothing to learn from.
func TestTrainOnLittle(t *testing.T) {
	five := func(int) int64 { return 5 }
	for name, test := range map[string]struct {
		events      []audience.Event
		k           int
		rfm, kmeans string // what the errors say; "" for none
	}{
		"no event at all":                   {nil, 2, "no user has a purchase in the window", "models/rfm has not been trained"},
		"no purchase":                       {[]audience.Event{visit("a", "1", noon)}, 2, "no user has a purchase in the window", "models/rfm has not been trained"},
		"one user":                          {buyers(1, five), 1, "", ""},
		"one user, two clusters":            {buyers(1, five), 2, "", "k_means.k: 2 clusters of 1 point"},
		"more clusters than users":          {buyers(3, func(i int) int64 { return int64(i) }), 4, "", "k_means.k: 4 clusters of 3 points"},
		"all users equal":                   {buyers(20, five), 1, "", ""},
		"all users equal, several clusters": {buyers(20, five), 3, "", "ask for at most 1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			if len(test.events) > 0 {
				_, err := h.store.WriteEvents(t.Context(), test.events)
				require.NoError(t, err)
			}
			for _, training := range []struct {
				model audience.Model
				want  string
			}{
				{audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{}}, test.rfm},
				{audience.Model{ID: "ways", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm", K: test.k}}, test.kmeans},
			} {
				trained, err := h.Train(t.Context(), h.model(t, training.model), "run", quiet)
				if training.want != "" {
					require.ErrorContains(t, err, training.want)
					continue
				}
				require.NoError(t, err)
				require.EqualValues(t, len(test.events), trained.Version.Users)
				require.Len(t, h.scores(t, trained.Version), len(test.events))
			}
		})
	}
}

// TestTrainingThatEndsEarly is cancelled at each stage: reads see the version before, nothing is left for good, and the next
// training's number is above every one begun.
func TestTrainingThatEndsEarly(t *testing.T) {
	h := newHouse(t)
	_, err := h.store.WriteEvents(t.Context(), buyers(200, func(i int) int64 { return int64(i % 17 * i) }))
	require.NoError(t, err)
	rfm := audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{}}
	ways := audience.Model{ID: "ways", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm", K: 3}}
	for _, model := range []audience.Model{rfm, ways} {
		t.Run(string(model.ID), func(t *testing.T) {
			before := h.train(t, model)
			var stages []string
			stored, err := h.store.Models().Get(t.Context(), string(model.ID))
			require.NoError(t, err)
			_, err = h.Train(t.Context(), stored, "run", func(stage string, _, _ int64) { stages = append(stages, stage) })
			require.NoError(t, err)
			require.Greater(t, len(stages), 3)
			before.Version++

			for _, at := range stages {
				ctx, cancel := context.WithCancel(t.Context())
				_, err := h.Train(ctx, stored, "run", func(stage string, _, _ int64) {
					if stage == at {
						cancel()
					}
				})
				require.ErrorIs(t, err, context.Canceled, at)
				published, err := h.store.Models().Get(t.Context(), string(model.ID))
				require.NoError(t, err)
				require.Equal(t, before.Version, published.Version, "published although it ended when %s", at)
			}
			require.Zero(t, h.count(t, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'staging%'"))

			after := h.train(t, model)
			require.Greater(t, after.Version, before.Version)
			require.Len(t, h.scores(t, after), 200)
			require.LessOrEqual(t, h.count(t, fmt.Sprintf("SELECT uniqExact(version) FROM scores WHERE model = %d", after.Model)), uint64(3),
				"scores of the published version, of one before, and of the one that this training has replaced")
			h.train(t, model)
			require.LessOrEqual(t, h.count(t, fmt.Sprintf("SELECT uniqExact(version) FROM scores WHERE model = %d", after.Model)), uint64(3))
		})
	}
}

// count reads one number.
func (h house) count(t *testing.T, sql string) (n uint64) {
	t.Helper()
	require.NoError(t, h.store.Select(t.Context(), audience.Query{SQL: sql}, func(scan func(...any) error) error { return scan(&n) }))
	return n
}

// TestAFailedPublicationShowsNothing fails the very last step.
func TestAFailedPublicationShowsNothing(t *testing.T) {
	h := newHouse(t)
	_, err := h.store.WriteEvents(t.Context(), buyers(10, func(i int) int64 { return int64(i) }))
	require.NoError(t, err)
	deps := h.Deps
	deps.Catalogue = unpublished{deps.Catalogue}
	model := h.model(t, audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{}})
	_, err = segmenter.New(deps).Train(t.Context(), model, "run", quiet)
	require.ErrorIs(t, err, audience.ErrUnavailable)
	require.True(t, strings.HasPrefix(err.Error(), "publish version 1 of models/rfm: "), err)
	require.EqualValues(t, 2, h.train(t, model).Version, "the number of the failed one is not used again")
}

// unpublished is a catalogue that cannot publish.
type unpublished struct{ segmenter.Catalogue }

func (unpublished) Publish(context.Context, audience.Model, audience.ModelVersion) error {
	return &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second}
}
