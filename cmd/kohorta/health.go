package main

import (
	"context"
	"errors"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
)

// watchedDestinations is the store as those see it who watch destinations.
type watchedDestinations struct{ *warehouse.Store }

// Destinations are all there are.
func (w watchedDestinations) Destinations(ctx context.Context) ([]audience.Destination, error) {
	return w.Store.Destinations().All(ctx)
}

// resume starts the syncs again that a destination's trouble has ended.
func (s *service) resume(ctx context.Context, id audience.DestinationID, since time.Time) {
	since = since.Truncate(time.Millisecond) // as the times of runs are
	all, err := s.store.Audiences().All(ctx)
	if err != nil {
		s.log.Warn("audiences of a destination that goes on not listed; sync them", "destination", id, "error", err)
		return
	}
	for _, a := range all {
		if a.Destination != id || a.Disabled {
			continue
		}
		last, err := s.runner.List(ctx, audience.RunFilter{Kind: audience.RunSync, Subject: "audiences/" + string(a.ID)}, "", 1)
		if err == nil && (len(last) == 0 || last[0].State != audience.RunFailed || last[0].EndTime.Before(since)) {
			continue
		}
		if err == nil {
			_, err = s.jobs.Resume(ctx, last[0])
		}
		if err != nil && !errors.Is(err, audience.ErrConflict) {
			s.log.Warn("sync of a destination that goes on not started; start it", "audience", a.ID, "error", err)
		}
	}
}
