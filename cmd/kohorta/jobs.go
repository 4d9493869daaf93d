package main

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/sync/delivery"
)

// jobs starts long work as runs.
type jobs struct {
	runner    *run.Runner
	segmenter *segmenter.Segmenter
	deliverer *delivery.Deliverer
}

// Train starts a training.
func (j jobs) Train(ctx context.Context, model audience.Model) (audience.Run, error) {
	return j.runner.Start(ctx, audience.RunTrain, "models/"+string(model.ID), func(ctx context.Context, task *run.Task) error {
		trained, err := j.segmenter.Train(ctx, model, task.ID(), task.Progress)
		if err != nil {
			return err
		}
		for _, note := range trained.Notes {
			task.Note("%s", note)
		}
		task.Counts(map[string]int64{"users": trained.Version.Users, "version": int64(trained.Version.Version)})
		return nil
	})
}

// Evaluate starts an evaluation.
func (j jobs) Evaluate(ctx context.Context, users []audience.UserID) (audience.Run, error) {
	return j.runner.Start(ctx, audience.RunEvaluate, "segments", func(ctx context.Context, task *run.Task) error {
		evaluation, err := j.segmenter.Evaluate(ctx, users, j.segmenter.Now(), "runs/"+string(task.ID()), task.Progress)
		task.Counts(evaluation.Summary())
		return err
	})
}

// Sync starts a sync of an audience.
func (j jobs) Sync(ctx context.Context, target audience.Audience, order audience.SyncOrder) (audience.Run, error) {
	return j.runner.Start(ctx, audience.RunSync, "audiences/"+string(target.ID), func(ctx context.Context, task *run.Task) error {
		if order.Recreate {
			if err := j.deliverer.Recreate(ctx, target.ID, task.ID()); err != nil {
				return err
			}
		}
		report, err := j.deliverer.Sync(ctx, target.ID, task.ID(), order.Approved, task.Progress)
		task.Counts(report.Counts())
		for _, reason := range report.Plan.Hold {
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
}

// planner says what a sync would do, in the nouns all rooms share.
type planner struct{ *delivery.Deliverer }

// Plan has no side effects.
func (p planner) Plan(ctx context.Context, id audience.AudienceID) (audience.SyncPlan, error) {
	plan, err := p.Deliverer.Plan(ctx, id)
	return plan.SyncPlan, err
}

// syncCatalogue is the store as delivery sees it.
type syncCatalogue struct{ store *warehouse.Store }

func (c syncCatalogue) Audiences(ctx context.Context) ([]audience.Audience, error) {
	return c.store.Audiences().All(ctx)
}

func (c syncCatalogue) Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error) {
	return c.store.Audiences().Get(ctx, string(id))
}

func (c syncCatalogue) Segment(ctx context.Context, id audience.SegmentID) (audience.Segment, error) {
	return c.store.Segments().Get(ctx, string(id))
}

func (c syncCatalogue) Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error) {
	return c.store.Destinations().Get(ctx, string(id))
}

// SetPlatformID keeps the platform's id.
func (c syncCatalogue) SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string, files bool) error {
	return setPlatformID(ctx, c.store.Audiences(), id, platformID, files)
}
