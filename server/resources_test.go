package server_test

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func (h *harness) createSegment(t *testing.T, id, expression string) *audiencev1.Segment {
	t.Helper()
	answer, err := h.segment.CreateSegment(t.Context(), &audiencev1.CreateSegmentRequest{
		SegmentId: id, Segment: &audiencev1.Segment{Title: id, Expression: expression},
	})
	require.NoError(t, err)
	return answer.GetSegment()
}

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

// createAudience makes destinations/meta and audiences/vip-meta of segments/vip, which must exist.
func (h *harness) createAudience(t *testing.T) *audiencev1.Audience {
	t.Helper()
	_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{
		DestinationId: "meta", Destination: &audiencev1.Destination{Platform: audiencev1.Destination_PLATFORM_META, Account: "123", TokenSecret: "meta.token"},
	})
	require.NoError(t, err)
	answer, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{
		AudienceId: "vip-meta", Audience: &audiencev1.Audience{Segment: "segments/vip", Destination: "destinations/meta"},
	})
	require.NoError(t, err)
	return answer.GetAudience()
}

func TestLifeOfASegment(t *testing.T) {
	h := start(t, server.Config{})
	created := h.createSegment(t, "vip", "rfm:rfm")
	require.Equal(t, "segments/vip", created.GetName())
	require.NotEmpty(t, created.GetEtag())
	require.NotNil(t, created.GetCreateTime())

	h.memberships["u1"] = []audience.Number{1}
	got, err := h.segment.GetSegment(t.Context(), &audiencev1.GetSegmentRequest{Name: "segments/vip"})
	require.NoError(t, err)
	require.EqualValues(t, 1, got.GetSegment().GetMemberCount())
	require.Empty(t, cmp.Diff(created, got.GetSegment(), protocmp.Transform(), protocmp.IgnoreFields(&audiencev1.Segment{}, "member_count")))

	changed, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{
		Segment: &audiencev1.Segment{Name: "segments/vip", Description: "for the newsletter", Etag: created.GetEtag()},
	})
	require.NoError(t, err)
	require.Equal(t, "for the newsletter", changed.GetSegment().GetDescription())
	require.Equal(t, "rfm:rfm", changed.GetSegment().GetExpression(), "an empty mask means every field set")
	require.NotEqual(t, created.GetEtag(), changed.GetSegment().GetEtag())

	_, err = h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{
		Segment: &audiencev1.Segment{Name: "segments/vip", Title: "late", Etag: created.GetEtag()},
	})
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip", Etag: created.GetEtag()})
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)

	_, err = h.segment.CreateSegment(t.Context(), &audiencev1.CreateSegmentRequest{SegmentId: "vip", Segment: &audiencev1.Segment{Expression: "x"}})
	d := requireStatus(t, err, codes.AlreadyExists, audiencev1.ErrorReason_ERROR_REASON_ALREADY_EXISTS)
	require.Equal(t, "segments/vip", d.resource.GetResourceName())

	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip"})
	require.NoError(t, err)
	_, err = h.segment.GetSegment(t.Context(), &audiencev1.GetSegmentRequest{Name: "segments/vip"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

func TestUpdateMasks(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "rfm:rfm")
	h.createModel(t, "rfm", &audiencev1.Model{Title: "RFM", Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{Bins: 4, TimeZone: "UTC"}}})
	update := func(segment *audiencev1.Segment, paths ...string) (*audiencev1.Segment, error) {
		segment.Name = "segments/vip"
		answer, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: segment, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		return answer.GetSegment(), err
	}
	got, err := update(&audiencev1.Segment{Title: "new", Description: "not named"}, "title", "disabled")
	require.NoError(t, err)
	require.Equal(t, []any{"new", "", false, "rfm:rfm"}, []any{got.GetTitle(), got.GetDescription(), got.GetDisabled(), got.GetExpression()})
	got, err = update(&audiencev1.Segment{Disabled: true}, "title", "disabled")
	require.NoError(t, err)
	require.Equal(t, []any{"", true}, []any{got.GetTitle(), got.GetDisabled()}, "a masked field that is not set is cleared")
	got, err = update(&audiencev1.Segment{Expression: "x"}, "*")
	require.NoError(t, err)
	require.Equal(t, []any{"x", false}, []any{got.GetExpression(), got.GetDisabled()}, "* is every field")
	_, err = update(&audiencev1.Segment{}, "expression")
	requireInvalid(t, err, "segment.expression")
	_, err = update(&audiencev1.Segment{}, "name", "etag", "member_count", "nonsense", "title.x")
	requireInvalid(t, err, "update_mask", "update_mask", "update_mask", "update_mask", "update_mask")

	model, err := h.model.UpdateModel(t.Context(), &audiencev1.UpdateModelRequest{
		Model:      &audiencev1.Model{Name: "models/rfm", Config: &audiencev1.Model_Rfm{Rfm: &audiencev1.RfmConfig{Bins: 7}}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rfm.bins"}},
	})
	require.NoError(t, err)
	require.EqualValues(t, 7, model.GetModel().GetRfm().GetBins())
	require.Equal(t, "UTC", model.GetModel().GetRfm().GetTimeZone())
	require.Equal(t, "RFM", model.GetModel().GetTitle())
}

func TestUpdateWithoutAnEtagIsMadeToWhateverThereIs(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.segments.interfere = 2 // another process writes between read and write, twice
	got, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/vip", Title: "t"}})
	require.NoError(t, err)
	require.Equal(t, "t", got.GetSegment().GetTitle())
}

func TestBadSegments(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	t.Run("everything wrong at once", func(t *testing.T) {
		_, err := h.segment.CreateSegment(t.Context(), &audiencev1.CreateSegmentRequest{
			SegmentId: "No Slug", Segment: &audiencev1.Segment{Title: strings.Repeat("t", 201), Description: strings.Repeat("d", 4001)},
		})
		requireInvalid(t, err, "segment_id", "segment.title", "segment.description", "segment.expression")
	})
	t.Run("no segment", func(t *testing.T) {
		_, err := h.segment.CreateSegment(t.Context(), &audiencev1.CreateSegmentRequest{SegmentId: "a"})
		requireInvalid(t, err, "segment")
		_, err = h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{})
		requireInvalid(t, err, "segment")
	})
	t.Run("expression with its place", func(t *testing.T) {
		_, err := h.segment.CreateSegment(t.Context(), &audiencev1.CreateSegmentRequest{SegmentId: "a", Segment: &audiencev1.Segment{Expression: "x && bad"}})
		require.Equal(t, []string{"segment.expression: 1:6: undeclared reference to bad"}, requireInvalid(t, err, "segment.expression").fields())
		_, err = h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/vip", Expression: "bad"}})
		requireInvalid(t, err, "segment.expression")
		_, err = h.segment.PreviewSegment(t.Context(), &audiencev1.PreviewSegmentRequest{Expression: "bad"})
		requireInvalid(t, err, "expression")
	})
	for _, name := range []string{"", "vip", "models/vip", "segments/", "segments/VIP", "segments/a/b", "segments/" + strings.Repeat("a", 64)} {
		t.Run("name "+name, func(t *testing.T) {
			_, err := h.segment.GetSegment(t.Context(), &audiencev1.GetSegmentRequest{Name: name})
			requireInvalid(t, err, "name")
			_, err = h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: name}})
			requireInvalid(t, err, "segment.name")
		})
	}
}

func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	h.createModel(t, "clusters", kmeans("models/rfm"))
	h.createSegment(t, "vip", "rfm:rfm")
	h.createSegment(t, "vip-and-more", "in:vip")
	h.createAudience(t)

	requireInUse := func(err error, names ...string) {
		t.Helper()
		d := requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
		var subjects []string
		for _, v := range d.precondition.GetViolations() {
			require.Equal(t, "IN_USE", v.GetType())
			subjects = append(subjects, v.GetSubject())
		}
		require.Equal(t, names, subjects)
		for _, name := range names {
			require.Contains(t, d.message, name)
		}
	}
	_, err := h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip"})
	requireInUse(err, "segments/vip-and-more", "audiences/vip-meta")
	_, err = h.model.DeleteModel(t.Context(), &audiencev1.DeleteModelRequest{Name: "models/rfm"})
	requireInUse(err, "segments/vip", "models/clusters")
	_, err = h.destination.DeleteDestination(t.Context(), &audiencev1.DeleteDestinationRequest{Name: "destinations/meta"})
	requireInUse(err, "audiences/vip-meta")

	sync, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	_, err = h.destination.DeleteAudience(t.Context(), &audiencev1.DeleteAudienceRequest{Name: "audiences/vip-meta"})
	requireInUse(err, sync.GetRun().GetName())
	h.endRun(sync.GetRun().GetName(), audience.RunSucceeded)

	// From the leaves inwards, everything goes.
	_, err = h.destination.DeleteAudience(t.Context(), &audiencev1.DeleteAudienceRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	_, err = h.destination.DeleteDestination(t.Context(), &audiencev1.DeleteDestinationRequest{Name: "destinations/meta"})
	require.NoError(t, err)
	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip-and-more"})
	require.NoError(t, err)
	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip"})
	require.NoError(t, err)
	_, err = h.model.DeleteModel(t.Context(), &audiencev1.DeleteModelRequest{Name: "models/clusters"})
	require.NoError(t, err)
	_, err = h.model.DeleteModel(t.Context(), &audiencev1.DeleteModelRequest{Name: "models/rfm"})
	require.NoError(t, err)
}

func TestListsPage(t *testing.T) {
	h := start(t, server.Config{})
	for i := range 120 {
		h.createSegment(t, fmt.Sprintf("s%03d", i), "x")
	}
	var sizes []int
	var names []string
	for token := ""; ; {
		page, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageToken: token})
		require.NoError(t, err)
		sizes = append(sizes, len(page.GetSegments()))
		for _, segment := range page.GetSegments() {
			names = append(names, segment.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	require.Equal(t, []int{50, 50, 20}, sizes, "0 means 50")
	require.Len(t, names, 120)
	require.IsIncreasing(t, names)

	all, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: math.MaxInt32})
	require.NoError(t, err)
	require.Len(t, all.GetSegments(), 120)
	require.Empty(t, all.GetNextPageToken())
	exact, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: 120})
	require.NoError(t, err)
	require.Empty(t, exact.GetNextPageToken(), "a full last page has no next")

	_, err = h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: -1})
	requireInvalid(t, err, "page_size")
	first, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: 1})
	require.NoError(t, err)
	_, err = h.model.ListModels(t.Context(), &audiencev1.ListModelsRequest{PageToken: first.GetNextPageToken()})
	requireInvalid(t, err, "page_token")
}

func TestTokensAreBoundToTheirFilter(t *testing.T) {
	h := start(t, server.Config{})
	for i := range 3 {
		_, err := h.Train(t.Context(), audience.Model{ID: audience.ModelID(fmt.Sprint("m", i))})
		require.NoError(t, err)
	}
	first, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, Kind: audiencev1.Run_KIND_TRAIN})
	require.NoError(t, err)
	require.Len(t, first.GetRuns(), 2)
	require.Equal(t, "models/m2", first.GetRuns()[0].GetSubject(), "newest first")
	second, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, Kind: audiencev1.Run_KIND_TRAIN, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, second.GetRuns(), 1)
	require.Empty(t, second.GetNextPageToken())
	_, err = h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, PageToken: first.GetNextPageToken()})
	requireInvalid(t, err, "page_token")
	_, err = h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Kind: 99, State: 99, PageSize: -1})
	requireInvalid(t, err, "kind", "state", "page_size")
}

// FuzzPageToken: whatever comes as a token is served or refused, never a fault of the service.
func FuzzPageToken(f *testing.F) {
	h := start(f, server.Config{})
	for _, seed := range []string{"", "AAAA", "////", "AAAAAAAAAAAAAAAA", "\x00", "ÿ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageToken: strings.ToValidUTF8(token, "?")})
		if err != nil {
			requireInvalid(t, err, "page_token")
		}
	})
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
		{"a source that is not there", kmeans("models/none"), []string{"model.k_means.source"}},
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

func TestBadDestinationsAndAudiences(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	target := h.createAudience(t)
	good := func() *audiencev1.Destination {
		return &audiencev1.Destination{Platform: audiencev1.Destination_PLATFORM_META, Account: "1", TokenSecret: "t"}
	}
	destinations := []struct {
		name   string
		change func(*audiencev1.Destination)
		fields []string
	}{
		{"nothing set", func(d *audiencev1.Destination) { *d = audiencev1.Destination{} }, []string{"platform", "account", "token_secret"}},
		{"account with act_", func(d *audiencev1.Destination) { d.Account = "act_1" }, []string{"account"}},
		{"secret outside its directory", func(d *audiencev1.Destination) { d.TokenSecret, d.AppSecret = "../token", "/etc/passwd" }, []string{"token_secret", "app_secret"}},
		{"Meta with an e-mail mode", func(d *audiencev1.Destination) { d.EmailMode = audiencev1.Destination_EMAIL_MODE_BASIC }, []string{"email_mode"}},
		{"TikTok with an app secret", func(d *audiencev1.Destination) {
			d.Platform, d.AppSecret = audiencev1.Destination_PLATFORM_TIKTOK, "s"
		}, []string{"app_secret"}},
		{"URLs", func(d *audiencev1.Destination) { d.BaseUrl = "ftp://x" }, []string{"base_url"}},
		{"URL with a token", func(d *audiencev1.Destination) { d.BaseUrl = "https://x/?access_token=1" }, []string{"base_url"}},
		{"rates", func(d *audiencev1.Destination) { d.RequestsPerSecond, d.BatchRows = math.Inf(1), 10_001 }, []string{"requests_per_second", "batch_rows"}},
		{"NaN", func(d *audiencev1.Destination) { d.RequestsPerSecond, d.BatchRows = math.NaN(), -1 }, []string{"requests_per_second", "batch_rows"}},
	}
	for _, c := range destinations {
		t.Run(c.name, func(t *testing.T) {
			d := good()
			c.change(d)
			_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{DestinationId: "d", Destination: d})
			for i, field := range c.fields {
				c.fields[i] = "destination." + field
			}
			requireInvalid(t, err, c.fields...)
		})
	}
	t.Run("another account", func(t *testing.T) {
		_, err := h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{Destination: &audiencev1.Destination{Name: "destinations/meta", Account: "2"}})
		requireInvalid(t, err, "destination.account")
	})
	t.Run("a better token", func(t *testing.T) {
		answer, err := h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{Destination: &audiencev1.Destination{Name: "destinations/meta", TokenSecret: "new.token"}})
		require.NoError(t, err)
		require.Equal(t, "123", answer.GetDestination().GetAccount())
	})
	t.Run("audience of nothing", func(t *testing.T) {
		_, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{AudienceId: "a", Audience: &audiencev1.Audience{
			MaxRemovalShare: math.NaN(), PlatformName: strings.Repeat("n", 51), Purpose: strings.Repeat("p", 65),
		}})
		requireInvalid(t, err, "audience.segment", "audience.destination", "audience.max_removal_share", "audience.platform_name", "audience.purpose")
	})
	t.Run("audience of what is not there", func(t *testing.T) {
		_, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{AudienceId: "a", Audience: &audiencev1.Audience{
			Segment: "segments/none", Destination: "destinations/none",
		}})
		requireInvalid(t, err, "audience.segment", "audience.destination")
	})
	t.Run("audience moved to another destination", func(t *testing.T) {
		_, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: &audiencev1.Audience{Name: target.GetName(), Destination: "destinations/other"}})
		requireInvalid(t, err, "audience.destination")
	})
	t.Run("what the service set stays", func(t *testing.T) {
		stored, err := h.audiences.Get(t.Context(), "vip-meta")
		require.NoError(t, err)
		stored.PlatformID = "2384"
		_, err = h.audiences.Update(t.Context(), stored)
		require.NoError(t, err)
		answer, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{
			Audience: &audiencev1.Audience{Name: target.GetName(), MaxRemovalShare: 0.5, PlatformId: "forged"},
		})
		require.NoError(t, err)
		require.Equal(t, "2384", answer.GetAudience().GetPlatformId())
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

func TestListMembers(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	for i, user := range users(2500) {
		h.memberships[audience.UserID(user)] = []audience.Number{audience.Number(1 + i%2)}
	}
	read := func(cursor string, messages int) (users []string, last string, err error) {
		stream, err := h.segment.ListMembers(t.Context(), &audiencev1.ListMembersRequest{Name: "segments/vip", Cursor: cursor})
		require.NoError(t, err)
		for range messages {
			message, err := stream.Recv()
			if err != nil {
				return users, last, err
			}
			users, last = append(users, message.GetUserIds()...), message.GetCursor()
		}
		return users, last, nil
	}
	begun, cursor, err := read("", 1)
	require.NoError(t, err)
	require.Len(t, begun, 1000)
	rest, end, err := read(cursor, 10)
	require.ErrorIs(t, err, io.EOF)
	all := append(begun, rest...)
	require.Len(t, all, 1250)
	require.IsIncreasing(t, all)
	none, _, err := read(end, 1)
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, none)

	h.createSegment(t, "other", "x")
	stream, err := h.segment.ListMembers(t.Context(), &audiencev1.ListMembersRequest{Name: "segments/other", Cursor: cursor})
	require.NoError(t, err)
	_, err = stream.Recv()
	requireInvalid(t, err, "cursor")
}

func TestPreview(t *testing.T) {
	h := start(t, server.Config{})
	answer, err := h.segment.PreviewSegment(t.Context(), &audiencev1.PreviewSegmentRequest{Expression: "x", SampleSize: 3, EvaluateTime: timestamppb.New(noon)})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&audiencev1.PreviewSegmentResponse{
		MemberCount: 7, UserCount: 9, SampleUserIds: []string{"u0", "u1", "u2"}, EvaluateTime: timestamppb.New(noon),
		Clauses: []*audiencev1.ClauseCount{{Clause: "x", UserCount: 7}},
	}, answer, protocmp.Transform()))
	for _, size := range []int32{-1, 101} {
		_, err = h.segment.PreviewSegment(t.Context(), &audiencev1.PreviewSegmentRequest{Expression: "x", SampleSize: size})
		requireInvalid(t, err, "sample_size")
	}
	for _, at := range []*timestamppb.Timestamp{timestamppb.New(time.Unix(-1, 0)), timestamppb.New(noon.AddDate(7974, 0, 0)), {Nanos: -1}} {
		_, err = h.segment.PreviewSegment(t.Context(), &audiencev1.PreviewSegmentRequest{Expression: "x", EvaluateTime: at})
		requireInvalid(t, err, "evaluate_time")
		_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{EvaluateTime: at})
		requireInvalid(t, err, "evaluate_time")
	}
}

func TestLongWorkAnswersWithARun(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	h.createSegment(t, "vip", "x")
	h.createAudience(t)

	train, err := h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_RUNNING, train.GetRun().GetState())
	require.Equal(t, audiencev1.Run_KIND_TRAIN, train.GetRun().GetKind())
	_, err = h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	d := requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	require.Contains(t, d.message, train.GetRun().GetName())
	_, err = h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/none"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)

	evaluate, err := h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{UserIds: []string{"b", "a", "b"}})
	require.NoError(t, err)
	h.endRun(evaluate.GetRun().GetName(), audience.RunSucceeded)
	_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
	require.NoError(t, err)
	_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{UserIds: users(10_001)})
	requireInvalid(t, err, "user_ids")
	require.Equal(t, []string{"train models/rfm ", `evaluate segments ["a" "b"] false`, `evaluate segments [] true`}, h.started)

	request := &audiencev1.StartSyncRequest{Name: "audiences/vip-meta", RequestId: uuid.NewString()}
	first, err := h.destination.StartSync(t.Context(), request)
	require.NoError(t, err)
	again, err := h.destination.StartSync(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, first.GetRun().GetName(), again.GetRun().GetName(), "a repeat gets the same run")
}

func TestApproval(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	h.plan = audience.SyncPlan{Members: 9, Unchanged: 1, Additions: 2, Removals: 3, Changes: 4, Suppressed: map[string]int64{"no_consent": 5},
		Requests: 6, Duration: 7 * time.Second, Hold: []string{"removes 75 % of what is held"}}
	plan, err := h.destination.PlanSync(t.Context(), &audiencev1.PlanSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	require.Equal(t, []string{"removes 75 % of what is held"}, plan.GetPlan().GetHoldReasons())
	require.Equal(t, []int64{9, 1, 2, 3, 4, 5, 6, 7}, []int64{
		plan.GetPlan().GetMemberCount(), plan.GetPlan().GetUnchangedCount(), plan.GetPlan().GetAdditionCount(), plan.GetPlan().GetRemovalCount(),
		plan.GetPlan().GetChangeCount(), plan.GetPlan().GetSuppressedCounts()["no_consent"], plan.GetPlan().GetRequestCount(), plan.GetPlan().GetSendDuration().GetSeconds(),
	})

	sync, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	approve := func() error {
		_, err := h.destination.ApproveSync(t.Context(), &audiencev1.ApproveSyncRequest{Run: sync.GetRun().GetName()})
		return err
	}
	requireStatus(t, approve(), codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	h.endRun(sync.GetRun().GetName(), audience.RunHeld)
	require.NoError(t, approve())
	require.Equal(t, []string{"sync audiences/vip-meta false", "sync audiences/vip-meta true"}, h.started)
	d := requireStatus(t, approve(), codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Contains(t, d.message, "newest", "a newer sync exists")

	_, err = h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: &audiencev1.Audience{Name: "audiences/vip-meta", Disabled: true}})
	require.NoError(t, err)
	_, err = h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	d = requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Equal(t, "DISABLED", d.precondition.GetViolations()[0].GetType())
}

func TestRuns(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	train, err := h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	require.NoError(t, err)
	name := train.GetRun().GetName()

	watch, err := h.run.WatchRun(t.Context(), &audiencev1.WatchRunRequest{Name: name})
	require.NoError(t, err)
	seen, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_RUNNING, seen.GetRun().GetState())
	_, err = h.run.CancelRun(t.Context(), &audiencev1.CancelRunRequest{Name: name})
	require.NoError(t, err)
	h.endRun(name, audience.RunCancelled)
	for err == nil {
		var next *audiencev1.WatchRunResponse
		if next, err = watch.Recv(); err == nil {
			seen = next
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, audiencev1.Run_STATE_CANCELLED, seen.GetRun().GetState(), "the end is never missed")
	got, err := h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: name})
	require.NoError(t, err)
	require.NotNil(t, got.GetRun().GetEndTime())

	for _, bad := range []string{"", "runs/", "runs/1", "models/rfm"} {
		_, err = h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: bad})
		requireInvalid(t, err, "name")
	}
	_, err = h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: "runs/" + uuid.NewString()})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

// TestEveryStateAndKindHasAWord: what the rooms write is what callers read, both ways.
func TestEveryStateAndKindHasAWord(t *testing.T) {
	h := start(t, server.Config{})
	for _, state := range []audience.RunState{audience.RunQueued, audience.RunRunning, audience.RunSucceeded, audience.RunFailed, audience.RunCancelled, audience.RunHeld} {
		for _, kind := range []audience.RunKind{audience.RunTrain, audience.RunEvaluate, audience.RunSync} {
			id := audience.RunID(uuid.NewString())
			h.runs[id] = audience.Run{ID: id, State: state, Kind: kind}
			got, err := h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: "runs/" + string(id)})
			require.NoError(t, err)
			require.Equal(t, "STATE_"+strings.ToUpper(string(state)), got.GetRun().GetState().String())
			require.Equal(t, "KIND_"+strings.ToUpper(string(kind)), got.GetRun().GetKind().String())
			list, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Kind: got.GetRun().GetKind(), State: got.GetRun().GetState()})
			require.NoError(t, err)
			require.Len(t, list.GetRuns(), 1)
		}
	}
}
