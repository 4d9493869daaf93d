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
	token, err := s.live.MoveUser(ctx, move)
	if err != nil {
		return nil, err
	}
	membership, err := s.memberships.Get(ctx, move.User)
	if err != nil {
		return nil, err
	}
	message, err := s.message(ctx, move.User, membership)
	return &audiencev1.MoveUserResponse{Membership: message, FreshnessToken: token}, err
}

// readMove reads a move; what is wrong with it beyond its names is the segmenter's to say.
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
		message, err := writeChange(ctx, s.directory, change)
		if err != nil {
			return err
		}
		if err := stream.Send(&audiencev1.WatchMembershipResponse{Changes: []*audiencev1.MembershipChange{message}}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watched are the numbers of the segments a caller names.
func (s *membershipService) watched(ctx context.Context, names []string) ([]audience.Number, error) {
	if len(names) > maxWatchedSegments {
		return nil, audience.Invalid("segments", "has %d names; at most %d are allowed, or none for all", len(names), maxWatchedSegments)
	}
	numbers := make([]audience.Number, len(names))
	for i, name := range names {
		if _, err := idOf("segments["+strconv.Itoa(i)+"]", segmentsCollection, name); err != nil {
			return nil, err
		}
		number, err := s.directory.numberOf(ctx, name)
		if err != nil {
			return nil, err
		}
		numbers[i] = number
	}
	return numbers, nil
}

func writeChange(ctx context.Context, directory *directory, change audience.WatchedChange) (*audiencev1.MembershipChange, error) {
	entered, err := directory.namesOf(ctx, change.Entered)
	if err != nil {
		return nil, err
	}
	left, err := directory.namesOf(ctx, change.Left)
	if err != nil {
		return nil, err
	}
	return &audiencev1.MembershipChange{
		UserId: string(change.User), Entered: entered, Left: left, Time: timestampOf(change.Time), Cause: change.Cause,
		Version: change.Version, Cursor: change.Cursor,
	}, nil
}
