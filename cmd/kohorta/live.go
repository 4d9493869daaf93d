package main

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
)

// liveStore is the store whose writes wake the segmenter, once they are durable. After a write that failed, too: some of
// it may be stored.
type liveStore struct {
	*warehouse.Store
	segmenter *segmenter.Segmenter
}

// WriteEvents stores events; see warehouse.Store.
func (s liveStore) WriteEvents(ctx context.Context, events []audience.Event) (duplicate []bool, err error) {
	s.segmenter.Admit(ctx)
	users := make([]audience.UserID, len(events))
	for i := range events {
		users[i] = events[i].User
	}
	defer func() { s.segmenter.Touch(users, segmenter.CauseEvent) }()
	return s.Store.WriteEvents(ctx, events)
}

// UpsertProfiles stores profiles; see warehouse.Store.
func (s liveStore) UpsertProfiles(ctx context.Context, updates []audience.ProfileUpdate) error {
	s.segmenter.Admit(ctx)
	users := make([]audience.UserID, len(updates))
	for i := range updates {
		users[i] = updates[i].User
	}
	defer func() { s.segmenter.Touch(users, segmenter.CauseProfile) }()
	return s.Store.UpsertProfiles(ctx, updates)
}
