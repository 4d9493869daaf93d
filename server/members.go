package server

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// rowsPerMessage of a stream is about 20 KB; ten times as many cost more in allocation than they save in frames.
const rowsPerMessage = 1000

// everySegment is the name by which a filter takes the place of a segment.
const everySegment = segmentsCollection + "/-"

// ListMembers streams members by user id: of a segment, of a segment as it was, or of all segments through a filter.
func (s *segmentService) ListMembers(req *audiencev1.ListMembersRequest, stream grpc.ServerStreamingServer[audiencev1.ListMembersResponse]) error {
	ctx := stream.Context()
	listed, err := s.listed(ctx, req)
	if err != nil {
		return err
	}
	after, err := position("cursor", req.GetCursor(), listed.scope...)
	if err != nil {
		return err
	}
	var next userIDs
	send := func() error {
		if err := listed.unchanged(ctx); err != nil || next.n == 0 {
			return err
		}
		err := stream.Send(next.message(tokenAt(string(next.last), listed.scope...)))
		next.clear()
		return err
	}
	for user, err := range listed.after(audience.UserID(after)) {
		if err != nil {
			return err
		}
		if next.add(user); next.n == rowsPerMessage {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// userIDs gathers the next message's ids in their wire form, once, instead of a list that is checked, measured and copied again.
type userIDs struct {
	wire []byte
	n    int
	last audience.UserID
}

// userIDsTag precedes each id on the wire.
var userIDsTag = protowire.AppendTag(nil,
	new(audiencev1.ListMembersResponse).ProtoReflect().Descriptor().Fields().ByName("user_ids").Number(), protowire.BytesType)

func (ids *userIDs) add(user audience.UserID) {
	ids.wire = protowire.AppendString(append(ids.wire, userIDsTag...), string(user))
	ids.n, ids.last = ids.n+1, user
}

// message has the ids among the fields that this side does not read, which go out as they are; the other side finds them in
// user_ids. It is valid until ids are cleared.
func (ids *userIDs) message(cursor string) *audiencev1.ListMembersResponse {
	message := &audiencev1.ListMembersResponse{Cursor: cursor}
	message.ProtoReflect().SetUnknown(ids.wire)
	return message
}

func (ids *userIDs) clear() { ids.wire, ids.n = ids.wire[:0], 0 }

// list is users, and what cursors among them are bound to.
type list struct {
	scope []string
	// after yields those after a user, in UserID order.
	after func(user audience.UserID) iter.Seq2[audience.UserID, error]
	// unchanged is an ErrConflict once the definitions that the list rests on are no longer in force: what was read before it
	// said nothing is of one definition alone.
	unchanged func(context.Context) error
}

// listed is what a request asks for.
func (s *segmentService) listed(ctx context.Context, req *audiencev1.ListMembersRequest) (list, error) {
	at, err := pastOf("time", req.GetTime(), s.now())
	if err != nil {
		return list{}, err
	}
	names, err := s.directory.current(ctx)
	if err != nil {
		return list{}, err
	}
	if req.GetFilter() != "" {
		switch {
		case req.GetName() != everySegment:
			return list{}, audience.Invalid("name", "is %.80q; with a filter it is %q", req.GetName(), everySegment)
		case !at.IsZero():
			return list{}, audience.Invalid("time", "does not go with a filter; list the segments one by one")
		}
		matches, err := s.live.Filter(ctx, names.Edition, req.GetFilter())
		return list{
			scope: []string{"filter", strconv.FormatUint(names.Version, 10), req.GetFilter()},
			after: func(user audience.UserID) iter.Seq2[audience.UserID, error] {
				return filtered(s.members.MembersAfter(ctx, user), matches)
			},
			unchanged: func(ctx context.Context) error {
				return s.unchanged(ctx, func(now *audience.Edition) bool { return now.Version == names.Version })
			},
		}, err
	}
	segment, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return list{}, err
	}
	if !at.IsZero() {
		return s.listedAt(ctx, segment, at)
	}
	number := names.NumberOf(segment.ID) // 0, of which nobody is, before it comes into force
	return list{
		scope: []string{"members", strconv.Itoa(int(segment.Number)), strconv.Itoa(int(number))},
		after: func(user audience.UserID) iter.Seq2[audience.UserID, error] {
			return s.members.MembersOf(ctx, number, user, 0)
		},
		unchanged: func(ctx context.Context) error {
			return s.unchanged(ctx, func(now *audience.Edition) bool { return now.NumberOf(segment.ID) == number })
		},
	}, nil
}

// listedAt is a segment's members by the definition in force at an instant. The past does not change.
func (s *segmentService) listedAt(ctx context.Context, segment audience.Segment, at time.Time) (list, error) {
	edition, err := s.live.EditionAt(ctx, at)
	if err != nil {
		return list{}, err
	}
	number := edition.NumberOf(segment.ID)
	return list{
		scope: []string{"members", strconv.Itoa(int(segment.Number)), strconv.Itoa(int(number)), at.String()},
		after: func(user audience.UserID) iter.Seq2[audience.UserID, error] {
			return s.history.MembersAt(ctx, number, at, user, 0)
		},
		unchanged: func(context.Context) error { return nil },
	}, nil
}

func (s *segmentService) unchanged(ctx context.Context, same func(*audience.Edition) bool) error {
	now, err := s.live.Edition(ctx)
	if err == nil && !same(now) {
		err = fmt.Errorf("a new definition came into force meanwhile; list again from the beginning: %w", audience.ErrConflict)
	}
	return err
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
