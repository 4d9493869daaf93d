package server

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxBatchUsers bounds BatchGetMembership.
const maxBatchUsers = 1000

// membershipService answers which segments users are in, watches and moves them.
type membershipService struct {
	audiencev1.UnsafeMembershipServiceServer
	memberships Memberships
	history     History
	live        Live
	directory   *directory
	now         func() time.Time
}

func newMembershipService(deps Deps, directory *directory) *membershipService {
	return &membershipService{memberships: deps.Memberships, history: deps.History, live: deps.Live, directory: directory, now: deps.Now}
}

func (s *membershipService) GetMembership(ctx context.Context, req *audiencev1.GetMembershipRequest) (*audiencev1.GetMembershipResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	at, err := pastOf("time", req.GetTime(), s.now())
	if err != nil {
		return nil, err
	}
	var message *audiencev1.Membership
	switch {
	case at.IsZero():
		if err := s.fresh(ctx, req.GetFreshnessToken()); err != nil {
			return nil, err
		}
		message, err = s.present(ctx, user)
	case req.GetFreshnessToken() != "":
		return nil, audience.Invalid("freshness_token", "does not go with time; the past does not change")
	default:
		message, err = s.past(ctx, user, at)
	}
	return &audiencev1.GetMembershipResponse{Membership: message}, err
}

// present is a user's membership now.
func (s *membershipService) present(ctx context.Context, user audience.UserID) (*audiencev1.Membership, error) {
	var membership audience.Membership
	names, err := s.directory.consistent(ctx, func(*names) (err error) {
		membership, err = s.memberships.Get(ctx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	return writeMembership(user, membership, names), nil
}

// SegmentsOf are the resource names of the segments a user is in now, for who answers by another way than gRPC.
func (s *Server) SegmentsOf(ctx context.Context, user audience.UserID) ([]string, error) {
	membership, err := s.memberships.present(ctx, user)
	return membership.GetSegments(), err
}

// past is a user's membership as of a time, by the definitions in force then.
func (s *membershipService) past(ctx context.Context, user audience.UserID, at time.Time) (*audiencev1.Membership, error) {
	membership, err := s.history.MembershipAt(ctx, user, at)
	if err != nil {
		return nil, err
	}
	edition, err := s.live.EditionAt(ctx, at)
	if err != nil {
		return nil, err
	}
	return writeMembership(user, membership, namesOf(edition)), nil
}

func writeMembership(user audience.UserID, membership audience.Membership, names *names) *audiencev1.Membership {
	return &audiencev1.Membership{UserId: string(user), Segments: names.of(membership.Segments), Version: membership.Version}
}

// fresh waits for the writes a caller's token names; without a token it costs nothing.
func (s *membershipService) fresh(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return s.live.Wait(ctx, token)
}

func (s *membershipService) BatchGetMembership(ctx context.Context, req *audiencev1.BatchGetMembershipRequest) (*audiencev1.BatchGetMembershipResponse, error) {
	users, err := usersOf(req.GetUserIds(), maxBatchUsers)
	if err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, audience.Invalid("user_ids", "is empty; name 1 to %d users", maxBatchUsers)
	}
	if err := s.fresh(ctx, req.GetFreshnessToken()); err != nil {
		return nil, err
	}
	var memberships []audience.Membership
	names, err := s.directory.consistent(ctx, func(*names) (err error) {
		memberships, err = s.memberships.Batch(ctx, users)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]*audiencev1.Membership, len(memberships))
	for i, membership := range memberships {
		out[i] = writeMembership(users[i], membership, names)
	}
	return &audiencev1.BatchGetMembershipResponse{Memberships: out}, nil
}

func (s *membershipService) CheckMembership(ctx context.Context, req *audiencev1.CheckMembershipRequest) (*audiencev1.CheckMembershipResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	id, err := idOf("segment", segmentsCollection, req.GetSegment())
	if err != nil {
		return nil, err
	}
	segment := audience.SegmentID(id)
	if err := s.fresh(ctx, req.GetFreshnessToken()); err != nil {
		return nil, err
	}
	var membership audience.Membership
	names, err := s.directory.consistent(ctx, func(names *names) (err error) {
		if err := s.directory.exists(ctx, names, segment); err != nil {
			return err
		}
		membership, err = s.memberships.Get(ctx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &audiencev1.CheckMembershipResponse{
		Member: slices.Contains(membership.Segments, names.NumberOf(segment)), Version: membership.Version,
	}, nil
}

// usersOf checks a list of user ids, each as the field user_ids[i].
func usersOf(ids []string, most int) ([]audience.UserID, error) {
	if len(ids) > most {
		return nil, audience.Invalid("user_ids", "has %d users; at most %d are allowed, split them", len(ids), most)
	}
	var faults audience.Violations
	users := make([]audience.UserID, len(ids))
	for i, id := range ids {
		users[i] = audience.UserID(id)
		faults.Merge("", renamed("user_ids["+strconv.Itoa(i)+"]", users[i].Validate()))
	}
	return users, faults.Err()
}
