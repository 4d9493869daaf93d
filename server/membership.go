package server

import (
	"context"
	"slices"
	"strconv"

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
}

func newMembershipService(deps Deps, directory *directory) *membershipService {
	return &membershipService{memberships: deps.Memberships, history: deps.History, live: deps.Live, directory: directory}
}

func (s *membershipService) GetMembership(ctx context.Context, req *audiencev1.GetMembershipRequest) (*audiencev1.GetMembershipResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	at, err := instantOf("time", req.GetTime())
	if err != nil {
		return nil, err
	}
	var membership audience.Membership
	switch {
	case at.IsZero():
		if err := s.fresh(ctx, req.GetFreshnessToken()); err != nil {
			return nil, err
		}
		membership, err = s.memberships.Get(ctx, user)
	case req.GetFreshnessToken() != "":
		return nil, audience.Invalid("freshness_token", "does not go with time; the past does not change")
	default:
		membership, err = s.history.MembershipAt(ctx, user, at)
	}
	if err != nil {
		return nil, err
	}
	message, err := s.message(ctx, user, membership)
	return &audiencev1.GetMembershipResponse{Membership: message}, err
}

// fresh waits for the writes a caller's token names; without a token it costs nothing.
func (s *membershipService) fresh(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return s.live.Wait(ctx, token)
}

func (s *membershipService) message(ctx context.Context, user audience.UserID, membership audience.Membership) (*audiencev1.Membership, error) {
	segments, err := s.directory.namesOf(ctx, membership.Segments)
	if err != nil {
		return nil, err
	}
	return &audiencev1.Membership{UserId: string(user), Segments: segments, Version: membership.Version}, nil
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
	memberships, err := s.memberships.Batch(ctx, users)
	if err != nil {
		return nil, err
	}
	out := make([]*audiencev1.Membership, len(memberships))
	for i, membership := range memberships {
		if out[i], err = s.message(ctx, users[i], membership); err != nil {
			return nil, err
		}
	}
	return &audiencev1.BatchGetMembershipResponse{Memberships: out}, nil
}

func (s *membershipService) CheckMembership(ctx context.Context, req *audiencev1.CheckMembershipRequest) (*audiencev1.CheckMembershipResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	if _, err := idOf("segment", segmentsCollection, req.GetSegment()); err != nil {
		return nil, err
	}
	number, err := s.directory.numberOf(ctx, req.GetSegment())
	if err != nil {
		return nil, err
	}
	if err := s.fresh(ctx, req.GetFreshnessToken()); err != nil {
		return nil, err
	}
	membership, err := s.memberships.Get(ctx, user)
	if err != nil {
		return nil, err
	}
	return &audiencev1.CheckMembershipResponse{
		Member: slices.Contains(membership.Segments, number), Version: membership.Version,
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
