package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func TestAChangedDefinitionIsEvaluated(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createSegment(t, "unevaluated", "x")
	update := func(segment *audiencev1.Segment) *audiencev1.UpdateSegmentResponse {
		t.Helper()
		r, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: segment})
		require.NoError(t, err)
		return r
	}
	titled := update(&audiencev1.Segment{Name: "segments/vip", Title: "VIP", Version: 7})
	require.Nil(t, titled.GetRun(), "a title is no definition")
	require.EqualValues(t, 1, titled.GetSegment().GetVersion(), "the service counts")

	changed := update(&audiencev1.Segment{Name: "segments/vip", Expression: "y"})
	require.EqualValues(t, 2, changed.GetSegment().GetVersion())
	require.EqualValues(t, 1, changed.GetSegment().GetInForceVersion())
	require.Equal(t, audiencev1.Run_KIND_EVALUATE, changed.GetRun().GetKind())
	again := update(&audiencev1.Segment{Name: "segments/vip", Expression: "y"})
	require.Equal(t, changed.GetRun().GetName(), again.GetRun().GetName(), "a repeat finds the run under way")

	fresh := update(&audiencev1.Segment{Name: "segments/unevaluated", Expression: "y"})
	require.Nil(t, fresh.GetRun(), "nobody sees it yet")
	require.Nil(t, fresh.GetSegment().InForceVersion)
	got, err := h.segment.GetSegment(t.Context(), &audiencev1.GetSegmentRequest{Name: "segments/unevaluated"})
	require.NoError(t, err)
	require.Nil(t, got.GetSegment().MemberCount, "not 0: it was not evaluated")
	check, err := h.membership.CheckMembership(t.Context(), &audiencev1.CheckMembershipRequest{UserId: "u1", Segment: "segments/unevaluated"})
	require.NoError(t, err)
	require.False(t, check.GetMember())
}

func TestSegmentVersions(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	for _, expression := range []string{"y", "z"} {
		_, err := h.segment.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/vip", Expression: expression}})
		require.NoError(t, err)
	}
	var listed []*audiencev1.SegmentVersion
	for request := (&audiencev1.ListSegmentVersionsRequest{Name: "segments/vip", PageSize: 2}); ; {
		r, err := h.segment.ListSegmentVersions(t.Context(), request)
		require.NoError(t, err)
		listed = append(listed, r.GetVersions()...)
		if request.PageToken = r.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	want := []*audiencev1.SegmentVersion{
		{Version: 3, Expression: "z", CreateTime: &timestamppb.Timestamp{Seconds: 3}},
		{Version: 2, Expression: "version 2", CreateTime: &timestamppb.Timestamp{Seconds: 2}},
		{Version: 1, Expression: "version 1", CreateTime: &timestamppb.Timestamp{Seconds: 1}, InForce: true},
	}
	require.Empty(t, cmp.Diff(want, listed, protocmp.Transform()))

	rolled, err := h.segment.RollbackSegment(t.Context(), &audiencev1.RollbackSegmentRequest{Name: "segments/vip", Version: 2})
	require.NoError(t, err)
	require.Equal(t, "version 2", rolled.GetSegment().GetExpression())
	require.EqualValues(t, 4, rolled.GetSegment().GetVersion())
	require.NotEmpty(t, rolled.GetRun().GetName())

	for _, version := range []int64{4, 5, 0, -1} {
		_, err := h.segment.RollbackSegment(t.Context(), &audiencev1.RollbackSegmentRequest{Name: "segments/vip", Version: version})
		requireInvalid(t, err, "version")
	}
	_, err = h.segment.RollbackSegment(t.Context(), &audiencev1.RollbackSegmentRequest{Name: "segments/none", Version: 1})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
	_, err = h.segment.ListSegmentVersions(t.Context(), &audiencev1.ListSegmentVersionsRequest{Name: "segments/vip", PageToken: "x"})
	requireInvalid(t, err, "page_token")
}

func TestCompareSegment(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	for name, request := range map[string]*audiencev1.CompareSegmentRequest{
		"another definition":     {Name: "segments/vip", Segment: &audiencev1.Segment{Expression: "y"}},
		"the newest one":         {Name: "segments/vip", SampleSize: 1},
		"one there would be":     {Name: "segments/new", Segment: &audiencev1.Segment{Expression: "y"}},
		"one of a group":         {Name: "segments/new", Segment: &audiencev1.Segment{Expression: "y", Group: "tier", Priority: 2}},
		"with a name of its own": {Name: "segments/new", Segment: &audiencev1.Segment{Name: "segments/other", Expression: "y"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := h.segment.CompareSegment(t.Context(), request)
			require.NoError(t, err)
			want := &audiencev1.CompareSegmentResponse{EvaluateTime: &timestamppb.Timestamp{Seconds: 6}, Segments: []*audiencev1.SegmentComparison{
				{Name: request.GetName(), EnteringCount: 7, LeavingCount: 1, StayingCount: 2, EnteringUserIds: []string{"in"}, LeavingUserIds: []string{"out"}},
				{Name: "segments/dependent", EnteringCount: 1},
			}}
			require.Empty(t, cmp.Diff(want, r, protocmp.Transform()))
		})
	}
	for field, request := range map[string]*audiencev1.CompareSegmentRequest{
		"name":               {Name: "vip"},
		"segment.expression": {Name: "segments/vip", Segment: &audiencev1.Segment{Expression: "bad"}},
		"segment.group":      {Name: "segments/vip", Segment: &audiencev1.Segment{Expression: "y", Group: "No!"}},
		"sample_size":        {Name: "segments/vip", SampleSize: 101},
	} {
		_, err := h.segment.CompareSegment(t.Context(), request)
		requireInvalid(t, err, field)
	}
	_, err := h.segment.CompareSegment(t.Context(), &audiencev1.CompareSegmentRequest{Name: "segments/none"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

// TestAListIsOfOneDefinition: it ends when another comes into force, and so do its cursors.
func TestAListIsOfOneDefinition(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	for i := range 3 {
		h.memberships[audience.UserID(strings.Repeat("u", i+1))] = []audience.Number{1}
	}
	list := func(cursor string) (*audiencev1.ListMembersResponse, error) {
		stream, err := h.segment.ListMembers(t.Context(), &audiencev1.ListMembersRequest{Name: "segments/-", Filter: "first", Cursor: cursor})
		require.NoError(t, err)
		return stream.Recv()
	}
	first, err := list("")
	require.NoError(t, err)
	_, err = list(first.GetCursor())
	require.ErrorContains(t, err, "EOF")
	h.turns.Add(1)
	_, err = list(first.GetCursor())
	requireInvalid(t, err, "cursor")
	h.listing = func() { h.turns.Add(1) }
	_, err = list("")
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
}
