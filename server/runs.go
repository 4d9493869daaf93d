package server

import (
	"context"

	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// runService shows the long work.
type runService struct {
	audiencev1.UnsafeRunServiceServer
	runs    Runs
	jobs    Jobs
	repeats *repeats
}

func (s *runService) GetRun(ctx context.Context, req *audiencev1.GetRunRequest) (*audiencev1.GetRunResponse, error) {
	id, err := runIDOf("name", req.GetName())
	if err != nil {
		return nil, err
	}
	run, err := s.runs.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &audiencev1.GetRunResponse{Run: writeRun(run)}, nil
}

func (s *runService) ListRuns(ctx context.Context, req *audiencev1.ListRunsRequest) (*audiencev1.ListRunsResponse, error) {
	var v audience.Violations
	filter := audience.RunFilter{
		Kind:    audience.RunKind(readWord(&v, "kind", req.GetKind())),
		Subject: req.GetSubject(),
		State:   audience.RunState(readWord(&v, "state", req.GetState())),
	}
	p, err := pageOf(req.GetPageSize(), req.GetPageToken(), runsCollection, string(filter.Kind), filter.Subject, string(filter.State))
	v.Merge("", err)
	if err := v.Err(); err != nil {
		return nil, err
	}
	runs, err := s.runs.List(ctx, filter, audience.RunID(p.after), p.size+1)
	if err != nil {
		return nil, err
	}
	runs, next := cut(p, runs, func(run audience.Run) string { return string(run.ID) })
	out := &audiencev1.ListRunsResponse{NextPageToken: next}
	for _, run := range runs {
		out.Runs = append(out.Runs, writeRun(run))
	}
	return out, nil
}

func (s *runService) CancelRun(ctx context.Context, req *audiencev1.CancelRunRequest) (*audiencev1.CancelRunResponse, error) {
	id, err := runIDOf("name", req.GetName())
	if err != nil {
		return nil, err
	}
	run, err := s.runs.Cancel(ctx, id)
	if err != nil {
		return nil, err
	}
	return &audiencev1.CancelRunResponse{Run: writeRun(run)}, nil
}

func (s *runService) ResumeRun(ctx context.Context, req *audiencev1.ResumeRunRequest) (*audiencev1.ResumeRunResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.ResumeRunResponse, error) {
		id, err := runIDOf("name", req.GetName())
		if err != nil {
			return nil, err
		}
		ended, err := s.runs.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		switch ended.State {
		case audience.RunFailed, audience.RunCancelled, audience.RunInterrupted:
		default:
			return nil, &preconditionError{
				kind: "NOT_RESUMABLE", message: "only a run that failed, was cancelled or was interrupted can be resumed; approve a held one instead", in: []string{req.GetName()},
			}
		}
		run, err := s.jobs.Resume(ctx, ended)
		return &audiencev1.ResumeRunResponse{Run: writeRun(run)}, err
	})
}

func (s *runService) WatchRun(req *audiencev1.WatchRunRequest, stream grpc.ServerStreamingServer[audiencev1.WatchRunResponse]) error {
	id, err := runIDOf("name", req.GetName())
	if err != nil {
		return err
	}
	for run, err := range s.runs.Watch(stream.Context(), id) {
		if err != nil {
			return err
		}
		if err := stream.Send(&audiencev1.WatchRunResponse{Run: writeRun(run)}); err != nil {
			return err
		}
	}
	return nil
}

func writeRun(run audience.Run) *audiencev1.Run {
	return &audiencev1.Run{
		Name:       nameOf(runsCollection, run.ID),
		Kind:       valueOf[audiencev1.Run_Kind](run.Kind),
		Subject:    run.Subject,
		State:      valueOf[audiencev1.Run_State](run.State),
		Stage:      run.Stage,
		DoneUnits:  run.DoneUnits,
		TotalUnits: run.TotalUnits,
		Counts:     run.Counts,
		Notes:      run.Notes,
		Error:      run.Error,
		CreateTime: timestampOf(run.CreateTime),
		EndTime:    timestampOf(run.EndTime),
		Occasion:   valueOf[audiencev1.Run_Occasion](run.Occasion),
		DueTime:    timestampOf(run.Due),
		Resumes:    nameOf(runsCollection, run.Resumes),
		Holder:     run.Holder,
	}
}
