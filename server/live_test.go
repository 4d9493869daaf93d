package server_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func TestFreshnessTokens(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	ingested, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}})
	require.NoError(t, err)
	require.Equal(t, "fresh", ingested.GetFreshnessToken())

	for name, read := range map[string]func(token string) error{
		"GetMembership": func(token string) error {
			_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1", FreshnessToken: token})
			return err
		},
		"BatchGetMembership": func(token string) error {
			_, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: []string{"u1"}, FreshnessToken: token})
			return err
		},
		"CheckMembership": func(token string) error {
			_, err := h.membership.CheckMembership(t.Context(), &audiencev1.CheckMembershipRequest{UserId: "u1", Segment: "segments/vip", FreshnessToken: token})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.waited = nil
			require.NoError(t, read(""))
			require.Empty(t, h.waited, "no token, no wait")
			require.NoError(t, read("fresh"))
			require.Equal(t, []string{"fresh"}, h.waited)
			requireInvalid(t, read("of tomorrow"), "freshness_token")
		})
	}
}

func TestMoveUser(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	moved, err := h.membership.MoveUser(t.Context(), &audiencev1.MoveUserRequest{UserId: "u1", Into: []string{"segments/vip"}, Actor: "crm"})
	require.NoError(t, err)
	require.Equal(t, []string{"segments/vip"}, moved.GetMembership().GetSegments())
	require.Equal(t, "fresh", moved.GetFreshnessToken())
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-kohorta-actor", "ann")
	for _, named := range []string{"crm", ""} {
		_, err := h.membership.MoveUser(ctx, &audiencev1.MoveUserRequest{UserId: "u1", Into: []string{"segments/vip"}, Actor: named})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"crm", "crm", "ann"}, []string{h.moves[0].Actor, h.moves[1].Actor, h.moves[2].Actor}, "who names nobody is the caller")

	for name, test := range map[string]struct {
		request *audiencev1.MoveUserRequest
		field   string
	}{
		"nowhere":            {&audiencev1.MoveUserRequest{UserId: "u1"}, "into"},
		"no user":            {&audiencev1.MoveUserRequest{Into: []string{"segments/vip"}}, "user_id"},
		"no resource name":   {&audiencev1.MoveUserRequest{UserId: "u1", OutOf: []string{"vip"}}, "out_of[0]"},
		"in and out at once": {&audiencev1.MoveUserRequest{UserId: "u1", Into: []string{"segments/vip"}, OutOf: []string{"segments/vip"}}, "out_of[0]"},
		"an end in the past": {&audiencev1.MoveUserRequest{UserId: "u1", Into: []string{"segments/vip"}, ExpireTime: timestamppb.New(time.Unix(1, 0))}, "expire_time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.membership.MoveUser(t.Context(), test.request)
			requireInvalid(t, err, test.field)
		})
	}
}

func TestWatchMembership(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createSegment(t, "lapsed", "y")
	watch := func(ctx context.Context, cursor string, segments ...string) audiencev1.MembershipService_WatchMembershipClient {
		stream, err := h.membership.WatchMembership(ctx, &audiencev1.WatchMembershipRequest{Segments: segments, Cursor: cursor})
		require.NoError(t, err)
		return stream
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream := watch(ctx, "", "segments/vip", "segments/lapsed")
	for i, want := range []string{"segments/vip", "segments/lapsed"} {
		answer, err := stream.Recv()
		require.NoError(t, err)
		change := answer.GetChanges()[0]
		require.Equal(t, []string{want}, change.GetEntered())
		require.Equal(t, []string{"0", "1"}[i], change.GetCursor())
		require.Equal(t, "event", change.GetCause())
	}
	cancel()
	_, err := stream.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))

	_, err = watch(t.Context(), "other").Recv()
	requireInvalid(t, err, "cursor")
	_, err = watch(t.Context(), "", "segments/none").Recv()
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

func TestMembershipOfThePast(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createSegment(t, "lapsed", "y")
	h.memberships["u1"], h.memberships["u2"] = []audience.Number{2}, []audience.Number{1, 2}
	before := timestamppb.New(past.Add(-time.Hour))

	then, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1", Time: before})
	require.NoError(t, err)
	require.Equal(t, []string{"segments/vip"}, then.GetMembership().GetSegments())
	_, err = h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1", Time: before, FreshnessToken: "fresh"})
	requireInvalid(t, err, "freshness_token")

	list := func(request *audiencev1.ListMembersRequest) ([]string, error) {
		stream, err := h.segment.ListMembers(t.Context(), request)
		require.NoError(t, err)
		var users []string
		for {
			answer, err := stream.Recv()
			if err != nil {
				if err == io.EOF { //nolint:errorlint // grpc gives it bare
					err = nil
				}
				return users, err
			}
			users = append(users, answer.GetUserIds()...)
		}
	}
	for name, test := range map[string]struct {
		request *audiencev1.ListMembersRequest
		want    []string
	}{
		"now":      {&audiencev1.ListMembersRequest{Name: "segments/vip"}, []string{"u2"}},
		"then":     {&audiencev1.ListMembersRequest{Name: "segments/vip", Time: before}, []string{"u1", "u2"}},
		"a filter": {&audiencev1.ListMembersRequest{Name: "segments/-", Filter: "first"}, []string{"u2"}},
	} {
		t.Run(name, func(t *testing.T) {
			users, err := list(test.request)
			require.NoError(t, err)
			require.Equal(t, test.want, users)
		})
	}
	for field, request := range map[string]*audiencev1.ListMembersRequest{
		"name":   {Name: "segments/vip", Filter: "first"},
		"time":   {Name: "segments/-", Filter: "first", Time: before},
		"filter": {Name: "segments/-", Filter: "second"},
	} {
		_, err := list(request)
		requireInvalid(t, err, field)
	}

	today := timestamppb.New(time.Now().Add(time.Hour))
	now, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1", Time: today})
	require.NoError(t, err)
	require.Equal(t, []string{"segments/lapsed"}, now.GetMembership().GetSegments())
	ahead := timestamppb.New(time.Now().Add(25 * time.Hour))
	_, err = list(&audiencev1.ListMembersRequest{Name: "segments/vip", Time: ahead})
	requireInvalid(t, err, "time")
	_, err = h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1", Time: ahead})
	requireInvalid(t, err, "time")
	_, err = h.segment.ExplainMembership(t.Context(), &audiencev1.ExplainMembershipRequest{Name: "segments/vip", UserId: "u1", Time: ahead})
	requireInvalid(t, err, "time")
}

func TestExplainMembership(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	got, err := h.segment.ExplainMembership(t.Context(), &audiencev1.ExplainMembershipRequest{Name: "segments/vip", UserId: "u1", Time: timestamppb.New(past)})
	require.NoError(t, err)
	want := &audiencev1.ExplainMembershipResponse{
		Holds: true, Instead: "segments/vip", SinceTime: timestamppb.New(time.Unix(4, 0)), SinceCause: "event", EvaluateTime: timestamppb.New(past),
		Move: &audiencev1.DecidingMove{Reason: "asked to stop", Actor: "crm", CreateTime: timestamppb.New(time.Unix(3, 0))},
		Clauses: []*audiencev1.ExplainedClause{{Clause: "x", Holds: true, Conditions: []*audiencev1.ExplainedCondition{{
			Condition: "x", Holds: true, Values: []*audiencev1.ExplainedValue{{Expression: "count()", Value: "2", EventIds: []string{"e1", "e2"}}},
		}}}},
	}
	require.Empty(t, cmp.Diff(want, got, protocmp.Transform()))

	_, err = h.segment.ExplainMembership(t.Context(), &audiencev1.ExplainMembershipRequest{Name: "segments/none", UserId: "u1"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
	_, err = h.segment.ExplainMembership(t.Context(), &audiencev1.ExplainMembershipRequest{Name: "segments/vip"})
	requireInvalid(t, err, "user_id")
}
