package server_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/testing/protocmp"
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
	}
}
