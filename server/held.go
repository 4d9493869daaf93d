package server

import (
	"context"
	"time"

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

// held is the audience whose plan a run has held and that still waits.
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
		return "", none("a later sync of the audience has replaced its plan; decide on that one")
	case plan.State != audience.HeldWaiting:
		return "", none("its plan was already " + string(plan.State))
	case !time.Now().Before(plan.Expires):
		return "", none("its plan has expired; start a sync to get a new one")
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
				Audience: nameOf(audiencesCollection, a.ID), Run: nameOf(runsCollection, plan.Run), Plan: writePlan(plan.Plan, s.now()),
				HoldTime: timestampOf(plan.Time), ExpireTime: timestampOf(plan.Expires),
			})
		}
	}
	return out, nil
}
