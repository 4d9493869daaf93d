package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxConsents bounds the consents of one call or profile.
const maxConsents = 100

// ingestService takes in events, profiles, consents.
type ingestService struct {
	audiencev1.UnsafeIngestServiceServer
	events   Events
	live     Live
	profiles Profiles
	identify Identify
	repeats  *repeats
	currency string
}

func newIngestService(deps Deps, repeats *repeats) *ingestService {
	return &ingestService{events: deps.Events, live: deps.Live, profiles: deps.Profiles, identify: deps.Identify, repeats: repeats, currency: deps.Config.Currency}
}

func (s *ingestService) IngestEvents(ctx context.Context, req *audiencev1.IngestEventsRequest) (*audiencev1.IngestEventsResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.IngestEventsResponse, error) {
		batch, err := readEvents(req.GetEvents(), s.currency)
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

func (s *ingestService) SetConsent(ctx context.Context, req *audiencev1.SetConsentRequest) (*audiencev1.SetConsentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.SetConsentResponse, error) {
		var v audience.Violations
		user := audience.UserID(req.GetUserId())
		v.Merge("", user.Validate())
		if len(req.GetConsents()) == 0 {
			v.Add("consents", "is empty; send 1 to %d", maxConsents)
		}
		consents := readConsents(&v, user, req.GetConsents())
		if err := v.Err(); err != nil {
			return nil, err
		}
		if err := s.profiles.SetConsents(ctx, consents); err != nil {
			return nil, err
		}
		return &audiencev1.SetConsentResponse{}, nil
	})
}

// readConsents are a user's words, with their faults as consents[i].
func readConsents(v *audience.Violations, user audience.UserID, messages []*audiencev1.Consent) []audience.Consent {
	if len(messages) > maxConsents {
		v.Add("consents", "has %d entries; at most %d are allowed", len(messages), maxConsents)
		return nil
	}
	consents := make([]audience.Consent, 0, len(messages))
	for i, message := range messages {
		field := "consents[" + strconv.Itoa(i) + "]"
		consent := audience.Consent{User: user, Purpose: message.GetPurpose(), Granted: message.GetGranted(), Time: time.Now().UTC()}
		if message.GetTime() != nil {
			consent.Time = timeOf(v, field+".time", message.GetTime())
		}
		if name := message.GetDestination(); name != "" {
			id, err := idOf("destination", destinationsCollection, name)
			v.Merge(field, err)
			consent.Destination = audience.DestinationID(id)
		}
		v.Merge(field, consent.Validate())
		consents = append(consents, consent)
	}
	return consents
}
