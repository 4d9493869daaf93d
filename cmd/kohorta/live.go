package main

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
)

// liveStore is the store whose writes wake the segmenter, once they are durable. After a write that failed, too: some of
// it may be stored. A write whose caller has gone is carried to its end, so that it is known when.
type liveStore struct {
	*warehouse.Store
	segmenter *segmenter.Segmenter
}

// WriteEvents stores events; see warehouse.Store.
func (s liveStore) WriteEvents(ctx context.Context, events []audience.Event) (duplicate []bool, err error) {
	if err := s.MayWrite(); err != nil {
		return nil, err
	}
	s.segmenter.Admit(ctx)
	return toItsEnd(ctx, func(ctx context.Context) ([]bool, error) {
		users := make([]audience.UserID, len(events))
		for i := range events {
			users[i] = events[i].User
		}
		defer func() { s.segmenter.Touch(users, segmenter.CauseEvent) }()
		return s.Store.WriteEvents(ctx, events)
	})
}

// UpsertProfiles stores profiles; see warehouse.Store.
func (s liveStore) UpsertProfiles(ctx context.Context, updates []audience.ProfileUpdate) error {
	if err := s.MayWrite(); err != nil {
		return err
	}
	s.segmenter.Admit(ctx)
	_, err := toItsEnd(ctx, func(ctx context.Context) (struct{}, error) {
		users := make([]audience.UserID, len(updates))
		for i := range updates {
			users[i] = updates[i].User
		}
		defer func() { s.segmenter.Touch(users, segmenter.CauseProfile) }()
		return struct{}{}, s.Store.UpsertProfiles(ctx, updates)
	})
	return err
}

// toItsEnd carries a write to its end, for which its caller waits until ctx ends.
func toItsEnd[T any](ctx context.Context, write func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := write(context.WithoutCancel(ctx))
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
