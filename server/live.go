package server

import (
	"context"
	"strconv"

	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxWatchedSegments bounds one watch.
const maxWatchedSegments = 1000

func (s *membershipService) MoveUser(ctx context.Context, req *audiencev1.MoveUserRequest) (*audiencev1.MoveUserResponse, error) {
	move, err := readMove(req)
	if err != nil {
		return nil, err
	}
	if move.Actor == "" {
		move.Actor = actorOf(ctx, req)
	}
	token, err := s.live.MoveUser(ctx, move)
	if err != nil {
		return nil, withField("expires", "expire_time", err)
	}
	message, err := s.present(ctx, move.User)
	return &audiencev1.MoveUserResponse{Membership: message, FreshnessToken: token}, err
}

// readMove reads a move. It checks names only; the segmenter checks the rest.
func readMove(req *audiencev1.MoveUserRequest) (audience.Move, error) {
	var v audience.Violations
	ids := func(field string, names []string) []audience.SegmentID {
		out := make([]audience.SegmentID, len(names))
		for i, name := range names {
			id, err := idOf(field+"["+strconv.Itoa(i)+"]", segmentsCollection, name)
			v.Merge("", err)
			out[i] = audience.SegmentID(id)
		}
		return out
	}
	move := audience.Move{
		User: audience.UserID(req.GetUserId()), Into: ids("into", req.GetInto()), OutOf: ids("out_of", req.GetOutOf()), Release: ids("release", req.GetRelease()),
		Reason: req.GetReason(), Actor: req.GetActor(), RequestID: req.GetRequestId(),
	}
	if req.GetExpireTime() != nil {
		move.Expires = timeOf(&v, "expire_time", req.GetExpireTime())
	}
	return move, v.Err()
}

// WatchMembership sends changes until the caller or the service ends.
func (s *membershipService) WatchMembership(req *audiencev1.WatchMembershipRequest, stream grpc.ServerStreamingServer[audiencev1.WatchMembershipResponse]) error {
	ctx := stream.Context()
	segments, err := s.watched(ctx, req.GetSegments())
	if err != nil {
		return err
	}
	for change, err := range s.live.Watch(ctx, req.GetCursor(), segments) {
		if err != nil {
			return err
		}
		if err := stream.Send(&audiencev1.WatchMembershipResponse{Changes: []*audiencev1.MembershipChange{writeChange(change)}}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watched are the segments a caller names.
func (s *membershipService) watched(ctx context.Context, named []string) ([]audience.SegmentID, error) {
	if len(named) > maxWatchedSegments {
		return nil, audience.Invalid("segments", "has %d names; at most %d are allowed, or none for all", len(named), maxWatchedSegments)
	}
	names, err := s.directory.current(ctx)
	if err != nil {
		return nil, err
	}
	segments := make([]audience.SegmentID, len(named))
	for i, name := range named {
		id, err := idOf("segments["+strconv.Itoa(i)+"]", segmentsCollection, name)
		if err != nil {
			return nil, err
		}
		segments[i] = audience.SegmentID(id)
		if err := s.directory.exists(ctx, names, segments[i]); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

func writeChange(change audience.WatchedChange) *audiencev1.MembershipChange {
	return &audiencev1.MembershipChange{
		UserId: string(change.User), Entered: segmentNames(change.Entered), Left: segmentNames(change.Left), Time: timestampOf(change.Time),
		Cause: change.Cause, Version: change.Version, Cursor: change.Cursor,
	}
}
