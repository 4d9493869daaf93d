package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// defaultStop is the reason of a stop that names none.
const defaultStop = "crm"

// maxStopped bounds the audiences of one stop.
const maxStopped = 1000

// privacyService forgets users, shows what is stored of them, and takes them off platforms.
type privacyService struct {
	audiencev1.UnsafePrivacyServiceServer
	privacy   Privacy
	audit     Audit
	audiences Resources[audience.Audience]
	live      Live
	repeats   *repeats
	now       func() time.Time
}

func newPrivacyService(deps Deps, repeats *repeats) *privacyService {
	return &privacyService{privacy: deps.Privacy, audit: deps.Audit, audiences: deps.Audiences, live: deps.Live, repeats: repeats, now: deps.Now}
}

func (s *privacyService) EraseUser(ctx context.Context, req *audiencev1.EraseUserRequest) (*audiencev1.EraseUserResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.EraseUserResponse, error) {
		user := audience.UserID(req.GetUserId())
		if err := user.Validate(); err != nil {
			return nil, err
		}
		run, err := s.privacy.Erase(ctx, user)
		return &audiencev1.EraseUserResponse{Run: writeRun(run)}, err
	})
}

func (s *privacyService) ReadmitUser(ctx context.Context, req *audiencev1.ReadmitUserRequest) (*audiencev1.ReadmitUserResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	return &audiencev1.ReadmitUserResponse{}, s.privacy.Readmit(ctx, user)
}

func (s *privacyService) StopUser(ctx context.Context, req *audiencev1.StopUserRequest) (*audiencev1.StopUserResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.StopUserResponse, error) {
		var v audience.Violations
		stop := audience.Stop{User: audience.UserID(req.GetUserId()), Reason: req.GetReason(), Time: s.now().UTC()}
		if stop.Reason == "" {
			stop.Reason = defaultStop
		}
		v.Merge("", stop.User.Validate())
		v.Merge("", audience.ValidSlug("reason", stop.Reason))
		if stop.Reason == audience.StopErased {
			v.Add("reason", "is that of an erasure; name another, or erase the user")
		}
		if req.GetExpireTime() != nil {
			if stop.Until = timeOf(&v, "expire_time", req.GetExpireTime()); !stop.Until.After(stop.Time) {
				v.Add("expire_time", "is in the past; name a time ahead, or none")
			}
		}
		return &audiencev1.StopUserResponse{}, s.stop(ctx, v, stop, req.GetAudiences())
	})
}

func (s *privacyService) ResumeUser(ctx context.Context, req *audiencev1.ResumeUserRequest) (*audiencev1.ResumeUserResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.ResumeUserResponse, error) {
		var v audience.Violations
		lifted := audience.Stop{User: audience.UserID(req.GetUserId()), Time: s.now().UTC()}
		v.Merge("", lifted.User.Validate())
		return &audiencev1.ResumeUserResponse{}, s.stop(ctx, v, lifted, req.GetAudiences())
	})
}

// stop orders a stop for each of the audiences, or for all, unless something is wrong with it.
func (s *privacyService) stop(ctx context.Context, v audience.Violations, stop audience.Stop, names []string) error {
	if len(names) > maxStopped {
		v.Add("audiences", "has %d names; at most %d are allowed, or none for all", len(names), maxStopped)
		names = nil
	}
	if s.privacy.Erased(stop.User) {
		v.Add("user_id", erasedUser)
	}
	stops := make([]audience.Stop, 0, max(len(names), 1))
	if len(names) == 0 {
		stops = append(stops, stop)
	}
	for i, name := range names {
		field := "audiences[" + strconv.Itoa(i) + "]"
		id, err := idOf(field, audiencesCollection, name)
		if !v.Merge("", err) || err != nil {
			continue
		}
		found, err := s.audiences.Get(ctx, id)
		if !v.Merge("", missing(field, err)) {
			return err
		}
		stop.Audience = found.Number
		stops = append(stops, stop)
	}
	if err := v.Err(); err != nil {
		return err
	}
	return s.privacy.Stop(ctx, stops)
}

// erasedUser is what is wrong with a user who was erased.
const erasedUser = "is of a user who was erased; readmit the id first if it is to name a new person"

func (s *privacyService) ListAudit(ctx context.Context, req *audiencev1.ListAuditRequest) (*audiencev1.ListAuditResponse, error) {
	p, err := pageOf(req.GetPageSize(), req.GetPageToken(), "audit", req.GetActor(), req.GetResource())
	if err != nil {
		return nil, err
	}
	actions, err := s.audit.Actions(ctx, req.GetActor(), req.GetResource(), p.after, p.size+1)
	if err != nil {
		return nil, err
	}
	actions, next := cut(p, actions, func(a audience.Action) string { return a.ID })
	out := &audiencev1.ListAuditResponse{NextPageToken: next}
	for _, a := range actions {
		out.Entries = append(out.Entries, &audiencev1.AuditEntry{Time: timestampOf(a.Time), Actor: a.Actor, Call: a.Call, Resource: a.Resource, Run: nameOf(runsCollection, a.Run), RequestId: a.RequestID})
	}
	return out, nil
}

func (s *privacyService) ExportUser(req *audiencev1.ExportUserRequest, stream grpc.ServerStreamingServer[audiencev1.ExportUserResponse]) error {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return err
	}
	writer := &exporter{privacyService: s}
	for stored, err := range s.privacy.Stored(stream.Context(), user) {
		if err != nil {
			return err
		}
		message, err := writer.message(stream.Context(), stored)
		if err == nil {
			err = stream.Send(message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeIdentifiers(identifiers []audience.Identifier) []*audiencev1.StoredIdentifier {
	out := make([]*audiencev1.StoredIdentifier, len(identifiers))
	for i, id := range identifiers {
		value := id.Value
		if len(value) == sha256.Size { // what stands in the clear, device ids, is longer
			value = hex.EncodeToString([]byte(value))
		}
		out[i] = &audiencev1.StoredIdentifier{Scheme: string(id.Scheme), Value: value}
	}
	return out
}
