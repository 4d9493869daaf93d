package server_test

import (
	"io"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func (h *harness) createModel(t *testing.T, id string, model *audiencev1.Model) *audiencev1.Model {
	t.Helper()
	answer, err := h.model.CreateModel(t.Context(), &audiencev1.CreateModelRequest{ModelId: id, Model: model})
	require.NoError(t, err)
	return answer.GetModel()
}

func rfm() *audiencev1.Model {
	return &audiencev1.Model{Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{}}}
}

func kmeans(source string) *audiencev1.Model {
	return &audiencev1.Model{Config: &audiencev1.Model_KMeans{KMeans: &audiencev1.KMeansConfig{Source: source}}}
}

func TestModelsComeBackAsTheyWent(t *testing.T) {
	h := start(t, server.Config{})
	full := &audiencev1.Model{Title: "all of it", Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{
		PurchaseTypes: []string{"purchase", "renewal"}, RefundTypes: []string{"refund"}, IgnoreRefunds: true, WindowDays: 365,
		AsOf: timestamppb.New(noon), TimeZone: "Europe/Warsaw", Recency: audiencev1.RfmConfig_RECENCY_ELAPSED,
		Frequency: audiencev1.RfmConfig_FREQUENCY_DAYS, Monetary: audiencev1.RfmConfig_MONETARY_MEAN,
		Convention: audiencev1.RfmConfig_CONVENTION_RFM_PACKAGE, Bins: 3,
		RecencyCuts: []float64{1, 2}, FrequencyCuts: []float64{3, 4}, MonetaryCuts: []float64{5, 6},
		SegmentPreset: audiencev1.RfmConfig_SEGMENT_PRESET_RFM_PACKAGE,
		Segments:      []*audiencev1.RfmSegmentRule{{Name: "best", Recency: &audiencev1.ScoreRange{Min: 3, Max: 3}}},
	}}}
	created := h.createModel(t, "rfm", full)
	require.Empty(t, cmp.Diff(full, created, protocmp.Transform(), protocmp.IgnoreFields(&audiencev1.Model{}, "name", "etag", "create_time", "update_time")))
	stored, err := h.models.Get(t.Context(), "rfm")
	require.NoError(t, err)
	require.Equal(t, audience.ModelRFM, stored.Kind)
	require.Equal(t, &audience.RFMSpec{
		PurchaseTypes: []string{"purchase", "renewal"}, RefundTypes: []string{"refund"}, IgnoreRefunds: true, WindowDays: 365,
		AsOf: noon, TimeZone: "Europe/Warsaw", Recency: "elapsed", Frequency: "days", Monetary: "mean", Convention: "rfm_package",
		Bins: 3, RecencyCuts: []float64{1, 2}, FrequencyCuts: []float64{3, 4}, MonetaryCuts: []float64{5, 6},
		SegmentPreset: "rfm_package", Segments: []audience.RFMSegmentRule{{Name: "best", Recency: [2]int{3, 3}}},
	}, stored.RFM)

	clusters := &audiencev1.Model{Config: &audiencev1.Model_KMeans{KMeans: &audiencev1.KMeansConfig{
		Source: "models/rfm", Features: []audiencev1.KMeansConfig_Feature{audiencev1.KMeansConfig_FEATURE_RECENCY, audiencev1.KMeansConfig_FEATURE_MONETARY},
		K: 4, MinK: 2, MaxK: 8, Seed: math.MaxUint64, SampleSize: 1000, Restarts: 3,
	}}}
	created = h.createModel(t, "clusters", clusters)
	require.Empty(t, cmp.Diff(clusters, created, protocmp.Transform(), protocmp.IgnoreFields(&audiencev1.Model{}, "name", "etag", "create_time", "update_time")))
	stored, err = h.models.Get(t.Context(), "clusters")
	require.NoError(t, err)
	require.Equal(t, &audience.KMeansSpec{
		Source: "rfm", Features: []string{"recency", "monetary"}, K: 4, MinK: 2, MaxK: 8, Seed: math.MaxUint64, Sample: 1000, Restarts: 3,
	}, stored.KMeans)
}

func TestBadModels(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	cases := []struct {
		name   string
		model  *audiencev1.Model
		fields []string
	}{
		{"no config", &audiencev1.Model{}, []string{"model.config"}},
		{"unknown words", &audiencev1.Model{Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{
			Recency: 9, Frequency: 9, Monetary: 9, Convention: 9, SegmentPreset: 9, AsOf: &timestamppb.Timestamp{Nanos: -1},
			Segments: []*audiencev1.RfmSegmentRule{{Monetary: &audiencev1.ScoreRange{Min: 4, Max: 2}}},
		}}}, []string{"model.rfm.recency", "model.rfm.frequency", "model.rfm.monetary", "model.rfm.convention", "model.rfm.segment_preset", "model.rfm.as_of", "model.rfm.segments[0].monetary"}},
		{"what the segmenter refuses", &audiencev1.Model{Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{Bins: 101}}}, []string{"model.rfm.bins"}},
		{"no source", kmeans(""), []string{"model.k_means.source"}},
		{"unknown feature", &audiencev1.Model{Config: &audiencev1.Model_KMeans{KMeans: &audiencev1.KMeansConfig{
			Source: "models/rfm", Features: []audiencev1.KMeansConfig_Feature{0, 9},
		}}}, []string{"model.k_means.features[0]", "model.k_means.features[1]"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.model.CreateModel(t.Context(), &audiencev1.CreateModelRequest{ModelId: "m", Model: c.model})
			requireInvalid(t, err, c.fields...)
		})
	}
	t.Run("another kind", func(t *testing.T) {
		model := kmeans("models/rfm")
		model.Name = "models/rfm"
		_, err := h.model.UpdateModel(t.Context(), &audiencev1.UpdateModelRequest{Model: model})
		requireInvalid(t, err, "model.config")
	})
}

func TestScores(t *testing.T) {
	h := start(t, server.Config{Currency: "PLN"})
	h.createModel(t, "rfm", rfm())
	_, err := h.model.GetScore(t.Context(), &audiencev1.GetScoreRequest{Name: "models/rfm", UserId: "u1"})
	d := requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Equal(t, "NOT_TRAINED", d.precondition.GetViolations()[0].GetType())
	require.Contains(t, d.message, "TrainModel")

	train := func(version uint32) {
		model, err := h.models.Get(t.Context(), "rfm")
		require.NoError(t, err)
		model.Version = version
		_, err = h.models.Update(t.Context(), model)
		require.NoError(t, err)
	}
	train(3)
	for _, user := range users(2500) {
		h.scores = append(h.scores, audience.Score{User: audience.UserID(user), R: 5, F: 4, M: 3, Segment: "loyal", RecencyDays: 2, Frequency: 9, MonetaryMicros: -1})
	}
	score, err := h.model.GetScore(t.Context(), &audiencev1.GetScoreRequest{Name: "models/rfm", UserId: "u00007"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&audiencev1.GetScoreResponse{Version: 3, Score: &audiencev1.Score{UserId: "u00007", Kind: &audiencev1.Score_Rfm{Rfm: &audiencev1.RfmScore{
		R: 5, F: 4, M: 3, Segment: "loyal", RecencyDays: 2, Frequency: 9, MonetaryMicros: -1, CurrencyCode: "PLN",
	}}}}, score, protocmp.Transform()))
	_, err = h.model.GetScore(t.Context(), &audiencev1.GetScoreRequest{Name: "models/rfm", UserId: "stranger"})
	d = requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
	require.NotContains(t, d.message, "stranger")

	read := func(cursor string, messages int) (users []string, last string, err error) {
		stream, err := h.model.ListScores(t.Context(), &audiencev1.ListScoresRequest{Name: "models/rfm", Cursor: cursor})
		require.NoError(t, err)
		for range messages {
			message, err := stream.Recv()
			if err != nil {
				return users, last, err
			}
			for _, score := range message.GetScores() {
				users = append(users, score.GetUserId())
			}
			require.EqualValues(t, 3, message.GetVersion())
			last = message.GetCursor()
		}
		return users, last, nil
	}
	begun, cursor, err := read("", 1)
	require.NoError(t, err)
	rest, _, err := read(cursor, 10)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, users(2500), append(begun, rest...), "a stream that broke goes on from its cursor")
	train(4)
	_, _, err = read(cursor, 1)
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	_, _, err = read("nonsense", 1)
	requireInvalid(t, err, "cursor")
}

func TestModelVersions(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	id := audience.RunID(uuid.NewString())
	for v := uint32(3); v > 0; v-- {
		h.versions = append(h.versions, audience.ModelVersion{Version: v, TrainTime: noon, AsOf: noon, Run: id, Users: 9, Fitted: `{"cuts":{"r":[1.5,2]}}`})
	}
	first, err := h.model.ListModelVersions(t.Context(), &audiencev1.ListModelVersionsRequest{Name: "models/rfm", PageSize: 2})
	require.NoError(t, err)
	require.Len(t, first.GetVersions(), 2)
	require.EqualValues(t, 3, first.GetVersions()[0].GetVersion())
	require.Equal(t, "runs/"+string(id), first.GetVersions()[0].GetRun())
	require.Equal(t, map[string]any{"cuts": map[string]any{"r": []any{1.5, 2.0}}}, first.GetVersions()[0].GetFitted().AsMap())
	second, err := h.model.ListModelVersions(t.Context(), &audiencev1.ListModelVersionsRequest{Name: "models/rfm", PageSize: 2, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, second.GetVersions(), 1)
	require.EqualValues(t, 1, second.GetVersions()[0].GetVersion())
	require.Empty(t, second.GetNextPageToken())
}
