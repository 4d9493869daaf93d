package server

import (
	"context"
	"iter"
	"strconv"

	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// rowsPerMessage of a stream is about 20 KB; ten times as many cost more in allocation than they save in frames.
const rowsPerMessage = 1000

// everySegment is the name by which a filter takes the place of a segment.
const everySegment = segmentsCollection + "/-"

// ListMembers streams members by user id: of a segment, of a segment as it was, or of all segments through a filter.
func (s *segmentService) ListMembers(req *audiencev1.ListMembersRequest, stream grpc.ServerStreamingServer[audiencev1.ListMembersResponse]) error {
	users, scope, err := s.listed(stream.Context(), req)
	if err != nil {
		return err
	}
	after, err := position("cursor", req.GetCursor(), scope...)
	if err != nil {
		return err
	}
	ids := make([]string, 0, rowsPerMessage)
	send := func() error {
		if len(ids) == 0 {
			return nil
		}
		err := stream.Send(&audiencev1.ListMembersResponse{UserIds: ids, Cursor: tokenAt(ids[len(ids)-1], scope...)})
		ids = ids[:0]
		return err
	}
	for user, err := range users(audience.UserID(after)) {
		if err != nil {
			return err
		}
		if ids = append(ids, string(user)); len(ids) == rowsPerMessage {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// usersAfter yields users after a user, in UserID order.
type usersAfter func(after audience.UserID) iter.Seq2[audience.UserID, error]

// listed is what a request asks for, and what its cursors are bound to.
func (s *segmentService) listed(ctx context.Context, req *audiencev1.ListMembersRequest) (usersAfter, []string, error) {
	at, err := instantOf("time", req.GetTime())
	if err != nil {
		return nil, nil, err
	}
	if req.GetFilter() != "" {
		switch {
		case req.GetName() != everySegment:
			return nil, nil, audience.Invalid("name", "is %.80q; with a filter it is %q", req.GetName(), everySegment)
		case !at.IsZero():
			return nil, nil, audience.Invalid("time", "does not go with a filter; list the segments one by one")
		}
		matches, err := s.live.Filter(ctx, req.GetFilter())
		return func(after audience.UserID) iter.Seq2[audience.UserID, error] {
			return filtered(s.members.MembersAfter(ctx, after), matches)
		}, []string{"filter", req.GetFilter()}, err
	}
	segment, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, nil, err
	}
	scope := []string{"members", strconv.Itoa(int(segment.Number))}
	if at.IsZero() {
		return func(after audience.UserID) iter.Seq2[audience.UserID, error] {
			return s.members.MembersOf(ctx, segment.Number, after, 0)
		}, scope, nil
	}
	return func(after audience.UserID) iter.Seq2[audience.UserID, error] {
		return s.history.MembersAt(ctx, segment.Number, at, after, 0)
	}, append(scope, at.String()), nil
}

// filtered yields the users whose segments match.
func filtered(members iter.Seq2[audience.Membership, error], matches func([]audience.Number) bool) iter.Seq2[audience.UserID, error] {
	return func(yield func(audience.UserID, error) bool) {
		for member, err := range members {
			if err != nil {
				yield("", err)
				return
			}
			if matches(member.Segments) && !yield(member.User, nil) {
				return
			}
		}
	}
}
