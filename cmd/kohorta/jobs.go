package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/sync/delivery"
)

// jobs starts long work as runs.
type jobs struct {
	runner    *run.Runner
	store     *warehouse.Store
	segmenter *segmenter.Segmenter
	deliverer *delivery.Deliverer
	everybody *evaluations
}

// Train starts a training.
func (j jobs) Train(ctx context.Context, model audience.Model) (audience.Run, error) {
	return j.train(ctx, audience.Run{Occasion: audience.OccasionRequest}, model)
}

// train starts a training as a run of some occasion. A scheduled one brings its scores into force as well.
func (j jobs) train(ctx context.Context, what audience.Run, model audience.Model) (audience.Run, error) {
	if err := j.store.MayWrite(); err != nil {
		return audience.Run{}, err
	}
	what.Kind, what.Subject = audience.RunTrain, "models/"+string(model.ID)
	return j.runner.Begin(ctx, what, func(ctx context.Context, task *run.Task) error {
		trained, err := j.segmenter.Train(ctx, model, task.ID(), task.Progress)
		if err != nil {
			return err
		}
		for _, note := range trained.Notes {
			task.Note("%s", note)
		}
		task.Counts(map[string]int64{"users": trained.Version.Users, "version": int64(trained.Version.Version)})
		if what.Occasion != audience.OccasionSchedule {
			return nil
		}
		evaluation, err := j.segmenter.Evaluate(ctx, nil, j.segmenter.Now(), "runs/"+string(task.ID()), task.Progress)
		task.Counts(evaluation.Summary())
		return err
	})
}

// Evaluate starts an evaluation.
func (j jobs) Evaluate(ctx context.Context, users []audience.UserID) (audience.Run, error) {
	if err := j.store.MayWrite(); err != nil {
		return audience.Run{}, err
	}
	if users == nil {
		return j.everybody.start(ctx)
	}
	return j.runner.Start(ctx, audience.RunEvaluate, "segments", func(ctx context.Context, task *run.Task) error {
		evaluation, err := j.segmenter.Evaluate(ctx, users, j.segmenter.Now(), "runs/"+string(task.ID()), task.Progress)
		task.Counts(evaluation.Summary())
		return err
	})
}

// Sync starts a sync of an audience.
func (j jobs) Sync(ctx context.Context, target audience.Audience, order audience.SyncOrder) (audience.Run, error) {
	return j.sync(ctx, audience.Run{Occasion: audience.OccasionRequest}, target, order)
}

// sync starts a sync as a run of some occasion. The audience is taken first: whether another process has it is known at once.
func (j jobs) sync(ctx context.Context, what audience.Run, target audience.Audience, order audience.SyncOrder) (audience.Run, error) {
	release, err := j.deliverer.Reserve(ctx, target)
	if err != nil {
		return audience.Run{}, err
	}
	what.Kind, what.Subject = audience.RunSync, "audiences/"+string(target.ID)
	begun, err := j.runner.Begin(ctx, what, func(ctx context.Context, task *run.Task) error {
		defer release()
		if order.Recreate {
			if err := j.deliverer.Recreate(ctx, target.ID, task.ID()); err != nil {
				return err
			}
		}
		report, err := j.deliverer.Sync(ctx, target.ID, task.ID(), order.Approved, task.Progress)
		for errors.Is(err, errTurned) { // what was approved was another plan
			report, err = j.deliverer.Sync(ctx, target.ID, task.ID(), false, task.Progress)
		}
		task.Counts(report.Counts())
		for _, reason := range report.Plan.Hold {
			if !report.Held {
				reason = "approved, although " + reason
			}
			task.Note("%s", reason)
		}
		for _, note := range report.Notes() {
			task.Note("%s", note)
		}
		if err == nil && report.Held {
			return run.ErrHeld
		}
		return err
	})
	if err != nil {
		release()
	}
	return begun, err
}

// Resume goes on with a run that has ended without success: a sync by what the ledger says is left, a training anew.
func (j jobs) Resume(ctx context.Context, ended audience.Run) (audience.Run, error) {
	what := audience.Run{Occasion: ended.Occasion, Due: ended.Due, Resumes: ended.ID}
	_, id, _ := strings.Cut(ended.Subject, "/")
	switch ended.Kind {
	case audience.RunTrain:
		model, err := j.store.Models().Get(ctx, id)
		if err != nil {
			return audience.Run{}, err
		}
		return j.train(ctx, what, model)
	case audience.RunSync:
		target, err := j.store.Audiences().Get(ctx, id)
		if err != nil {
			return audience.Run{}, err
		}
		if target.Disabled {
			return audience.Run{}, fmt.Errorf("%s is disabled; enable it first: %w", ended.Subject, audience.ErrPrecondition)
		}
		return j.sync(ctx, what, target, audience.SyncOrder{})
	case audience.RunEvaluate, audience.RunErase:
	}
	return audience.Run{}, fmt.Errorf("runs/%s is no sync and no training; start the same again instead: %w", ended.ID, audience.ErrPrecondition)
}

// planner says what a sync would do, in the nouns all rooms share.
type planner struct{ *delivery.Deliverer }

// Plan has no side effects.
func (p planner) Plan(ctx context.Context, id audience.AudienceID) (audience.SyncPlan, error) {
	plan, err := p.Deliverer.Plan(ctx, id)
	return plan.SyncPlan, err
}

// syncCatalogue is the store as delivery sees it: a segment is its definition in force.
type syncCatalogue struct {
	store   *warehouse.Store
	edition func(context.Context) (*audience.Edition, error)
}

func (c syncCatalogue) Audiences(ctx context.Context) ([]audience.Audience, error) {
	return c.store.Audiences().All(ctx)
}

func (c syncCatalogue) Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error) {
	return c.store.Audiences().Get(ctx, string(id))
}

func (c syncCatalogue) Segment(ctx context.Context, id audience.SegmentID) (audience.Segment, error) {
	segment, err := c.store.Segments().Get(ctx, string(id))
	if err != nil {
		return segment, err
	}
	edition, err := c.edition(ctx)
	if err != nil {
		return segment, err
	}
	inForce, found := edition.Find(id)
	if !found && !segment.Disabled {
		return segment, fmt.Errorf("segments/%s was not evaluated since it was created; evaluate the segments first: %w", id, audience.ErrPrecondition)
	}
	segment.Number, segment.Expression = inForce.Number, inForce.Expression
	return segment, nil
}

func (c syncCatalogue) Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error) {
	return c.store.Destinations().Get(ctx, string(id))
}

// SetPlatformID keeps the platform's id.
func (c syncCatalogue) SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string, files bool, version uint64) error {
	a, err := c.Audience(ctx, id)
	if err != nil {
		return err
	}
	return c.store.SetPlatformID(ctx, a.Number, platformID, files, version)
}
