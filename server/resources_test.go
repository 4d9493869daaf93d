package server_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

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
	require.Empty(t, cmp.Diff(created, got.GetSegment(), protocmp.Transform(), protocmp.IgnoreFields(&audiencev1.Segment{}, "member_count", "in_force_version")))

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
	h.segments.meddler = func() {
		_, err := h.segments.Update(context.Background(), audience.Segment{ID: "vip", Expression: "x", Description: "theirs"})
		assert.NoError(t, err)
	}
	got, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/vip", Title: "t"}})
	require.NoError(t, err)
	require.Equal(t, []string{"t", "theirs"}, []string{got.GetSegment().GetTitle(), got.GetSegment().GetDescription()})
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
	for i := range 1000 {
		_, err := h.segments.Create(t.Context(), audience.Segment{ID: audience.SegmentID(fmt.Sprintf("t%03d", i))})
		require.NoError(t, err)
	}
	most, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: math.MaxInt32})
	require.NoError(t, err)
	require.Len(t, most.GetSegments(), 1000)
	require.NotEmpty(t, most.GetNextPageToken())
	exact, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: 120, PageToken: most.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, exact.GetSegments(), 120)
	require.Empty(t, exact.GetNextPageToken(), "a full last page has no next")

	_, err = h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: -1})
	requireInvalid(t, err, "page_size")
	first, err := h.segment.ListSegments(t.Context(), &audiencev1.ListSegmentsRequest{PageSize: 1})
	require.NoError(t, err)
	_, err = h.model.ListModels(t.Context(), &audiencev1.ListModelsRequest{PageToken: first.GetNextPageToken()})
	requireInvalid(t, err, "page_token")
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
