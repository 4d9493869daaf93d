package server

import (
	"context"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// ingestService takes in events, profiles, consents.
type ingestService struct {
	audiencev1.UnsafeIngestServiceServer
	events   Events
	live     Live
	profiles Profiles
	identify Identify
	repeats  *repeats
	currency string
	now      func() time.Time
	erased   func(audience.UserID) bool

	destinations Resources[audience.Destination]
	audiences    Resources[audience.Audience]
}

func newIngestService(deps Deps, repeats *repeats) *ingestService {
	return &ingestService{
		events: deps.Events, live: deps.Live, profiles: deps.Profiles, identify: deps.Identify, repeats: repeats,
		currency: deps.Config.Currency, now: deps.Now, erased: deps.Privacy.Erased, destinations: deps.Destinations, audiences: deps.Audiences,
	}
}

func (s *ingestService) IngestEvents(ctx context.Context, req *audiencev1.IngestEventsRequest) (*audiencev1.IngestEventsResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.IngestEventsResponse, error) {
		batch, err := readEvents(req.GetEvents(), s.currency, s.erased)
		if err != nil {
			return nil, err
		}
		duplicate, err := s.write(ctx, batch.events)
		if err != nil {
			return nil, err
		}
		out := batch.response(duplicate)
		out.FreshnessToken = s.live.Token()
		return out, nil
	})
}

// write stores the events of one or more batches, which may hold none.
func (s *ingestService) write(ctx context.Context, events []audience.Event) (duplicate []bool, err error) {
	if len(events) == 0 {
		return nil, nil
	}
	duplicate, err = s.events.WriteEvents(ctx, events)
	if err != nil {
		return nil, fmt.Errorf("write %d events: %w", len(events), err)
	}
	return duplicate, nil
}

// response is what became of each row.
func (b *eventBatch) response(duplicate []bool) *audiencev1.IngestEventsResponse {
	results := make([]audiencev1.EventResult, b.size) // one allocation for all rows
	out := &audiencev1.IngestEventsResponse{Results: make([]*audiencev1.EventResult, b.size)}
	for i := range results {
		out.Results[i] = &results[i]
	}
	for i, row := range b.rows {
		if duplicate[i] {
			results[row].Status = audiencev1.EventResult_STATUS_DUPLICATE
			out.DuplicateCount++
		} else {
			results[row].Status = audiencev1.EventResult_STATUS_ACCEPTED
			out.AcceptedCount++
		}
	}
	for row, violations := range b.refused {
		results[row].Status, results[row].Violations = audiencev1.EventResult_STATUS_INVALID, violations
		out.InvalidCount++
	}
	return out
}
