package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/schedule"
)

// schedules are internal/schedule as the server asks for it.
type schedules struct{ clock *clock }

// Check says what is wrong with a schedule.
func (schedules) Check(s audience.Schedule) error {
	_, err := schedule.Parse(s, "")
	return err
}

// Next is when a schedule of a resource is due next.
func (s schedules) Next(of audience.Schedule, subject string) time.Time {
	times, err := schedule.Parse(of, subject)
	if err != nil {
		return time.Time{}
	}
	return times.Next(s.clock.Now())
}

// scheduled lists what can begin by itself in this process: syncs of audiences, and trainings where it is the writer.
func (s *service) scheduled(ctx context.Context) ([]schedule.Job, error) {
	audiences, err := s.store.Audiences().All(ctx)
	if err != nil {
		return nil, err
	}
	edition, err := s.edition(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.store.WaitingPlans(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	doubtful, err := s.store.DoubtfulAudiences(ctx)
	if err != nil {
		return nil, err
	}
	var jobs []schedule.Job
	for _, a := range audiences {
		if !a.Disabled {
			jobs = append(jobs, schedule.Job{
				Kind: audience.RunSync, Subject: "audiences/" + string(a.ID), Schedule: a.Schedule, Since: s.clock.at(a.UpdateTime),
				Segment: edition.NumberOf(a.Segment), Held: held[a.Number], Doubtful: doubtful[a.Number],
			})
		}
	}
	models, err := s.store.Models().All(ctx)
	if err != nil {
		return nil, err
	}
	if s.store.MayWrite() != nil {
		models = nil // training is the writer's
	}
	for _, model := range models {
		jobs = append(jobs, schedule.Job{
			Kind: audience.RunTrain, Subject: "models/" + string(model.ID), Schedule: model.Schedule, Since: s.clock.at(model.UpdateTime),
		})
	}
	return jobs, nil
}

// lastRuns are the newest runs, by the service's clock.
func (s *service) lastRuns(ctx context.Context, from audience.RunID) ([]audience.LastRun, error) {
	last, err := s.store.LastRuns(ctx, from)
	for i := range last {
		if !last[i].CreateTime.IsZero() {
			last[i].CreateTime = s.clock.at(last[i].CreateTime)
		}
	}
	return last, err
}

// begin begins a scheduled run, unless another process has begun one since.
func (s *service) begin(ctx context.Context, job schedule.Job, run audience.Run, newest audience.RunID) error {
	unchanged := func(ctx context.Context) error {
		last, err := s.store.LastRuns(ctx, newest)
		for _, l := range last {
			if l.Kind == job.Kind && l.Subject == job.Subject && l.ID != newest {
				return fmt.Errorf("runs/%s has begun meanwhile: %w", l.ID, audience.ErrConflict)
			}
		}
		return err
	}
	kind, id, _ := strings.Cut(job.Subject, "/")
	if kind == "models" {
		model, err := s.store.Models().Get(ctx, id)
		if err == nil {
			err = unchanged(ctx)
		}
		if err == nil {
			_, err = s.jobs.train(ctx, run, model)
		}
		return err
	}
	target, err := s.store.Audiences().Get(ctx, id)
	if err != nil {
		return err
	}
	release, err := s.deliverer.Reserve(ctx, target) // from here on nobody else begins one
	if err != nil {
		return err
	}
	defer release()
	if err := unchanged(ctx); err != nil {
		return err
	}
	_, err = s.jobs.sync(ctx, run, target, audience.SyncOrder{})
	return err
}
