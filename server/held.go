package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func (s *audienceService) ApproveSync(ctx context.Context, req *audiencev1.ApproveSyncRequest) (*audiencev1.ApproveSyncResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.ApproveSyncResponse, error) {
		target, err := s.held(ctx, req.GetRun())
		if err != nil {
			return nil, err
		}
		run, err := s.sync(ctx, nameOf(audiencesCollection, target), audience.SyncOrder{Approved: true})
		return &audiencev1.ApproveSyncResponse{Run: writeRun(run)}, err
	})
}

func (s *audienceService) DropSync(ctx context.Context, req *audiencev1.DropSyncRequest) (*audiencev1.DropSyncResponse, error) {
	target, err := s.held(ctx, req.GetRun())
	if err != nil {
		return nil, err
	}
	return &audiencev1.DropSyncResponse{}, s.planner.Drop(ctx, target)
}

// held is the audience whose plan was held by a run and waits still.
func (s *audienceService) held(ctx context.Context, name string) (audience.AudienceID, error) {
	id, err := runIDOf("run", name)
	if err != nil {
		return "", err
	}
	run, err := s.runs.Get(ctx, id)
	if err != nil {
		return "", err
	}
	none := func(message string) error {
		return &preconditionError{kind: "NOT_HELD", message: message, in: []string{name}}
	}
	if run.State != audience.RunHeld {
		return "", none("the run is not held")
	}
	target, err := s.audiences.find(ctx, "run", run.Subject)
	if err != nil {
		return "", err
	}
	plan, err := s.planner.HeldPlan(ctx, target.ID)
	switch {
	case err != nil:
		return "", err
	case plan.Run != id:
		return "", none("a later sync of the audience has taken its place; look at that one's plan")
	case plan.State != audience.HeldWaiting:
		return "", none("it was " + string(plan.State) + " already")
	case !time.Now().Before(plan.Expires):
		return "", none("its time to be decided on is over; start a sync for a plan of today")
	}
	return target.ID, nil
}

func (s *audienceService) ListHeldSyncs(ctx context.Context, req *audiencev1.ListHeldSyncsRequest) (*audiencev1.ListHeldSyncsResponse, error) {
	audiences, next, err := s.audiences.page(ctx, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &audiencev1.ListHeldSyncsResponse{NextPageToken: next}
	for _, a := range audiences {
		plan, err := s.planner.HeldPlan(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if plan.State == audience.HeldWaiting && time.Now().Before(plan.Expires) {
			out.HeldSyncs = append(out.HeldSyncs, &audiencev1.HeldSync{
				Audience: nameOf(audiencesCollection, a.ID), Run: nameOf(runsCollection, plan.Run), Plan: writePlan(plan.Plan, time.Now()),
				HoldTime: timestampOf(plan.Time), ExpireTime: timestampOf(plan.Expires),
			})
		}
	}
	return out, nil
}

// durationOf is the duration a message says, 0 for none; one that is none, negative, or longer than most is a fault of the field.
func durationOf(v *audience.Violations, field string, d *durationpb.Duration, most time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	switch length := d.AsDuration(); {
	case d.CheckValid() != nil || length < 0:
		v.Add(field, "is not a duration such as 172800s")
	case length > most:
		v.Add(field, "is %s; at most %s is possible", length, most)
	default:
		return length
	}
	return 0
}

// durationpbOf is the message of a duration; none for 0.
func durationpbOf(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
