package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxConsents bounds the consents of one call or profile.
const maxConsents = 100

// clockSkew is how far a caller's clock may be ahead.
const clockSkew = 5 * time.Minute

func (s *ingestService) SetConsent(ctx context.Context, req *audiencev1.SetConsentRequest) (*audiencev1.SetConsentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.SetConsentResponse, error) {
		var v audience.Violations
		user := audience.UserID(req.GetUserId())
		v.Merge("", user.Validate())
		if s.erased(user) {
			v.Add("user_id", erasedUser)
		}
		if len(req.GetConsents()) == 0 {
			v.Add("consents", "is empty; send 1 to %d", maxConsents)
		}
		consents := s.readConsents(&v, user, req.GetConsents())
		if err := v.Err(); err != nil {
			return nil, err
		}
		if at, err := s.destinationCheck(ctx)(consents); err != nil {
			return nil, fmt.Errorf("consents[%d].destination: %w", at, err)
		}
		warnings, err := s.unusedPurposes(ctx, consents)
		if err != nil {
			return nil, err
		}
		if err := s.profiles.SetConsents(ctx, consents); err != nil {
			return nil, err
		}
		return &audiencev1.SetConsentResponse{Warnings: warnings}, nil
	})
}

// readConsents are the consents in a request; faults are of the fields consents[i].
func (s *ingestService) readConsents(v *audience.Violations, user audience.UserID, messages []*audiencev1.Consent) []audience.Consent {
	if len(messages) > maxConsents {
		v.Add("consents", "has %d entries; at most %d are allowed", len(messages), maxConsents)
		return nil
	}
	now := s.now().UTC()
	consents := make([]audience.Consent, 0, len(messages))
	for i, message := range messages {
		field := "consents[" + strconv.Itoa(i) + "]"
		consent := audience.Consent{User: user, Purpose: message.GetPurpose(), Granted: message.GetGranted(), Time: now}
		if message.GetTime() != nil {
			if consent.Time = timeOf(v, field+".time", message.GetTime()); consent.Time.After(now) {
				if consent.Time.After(now.Add(clockSkew)) {
					v.Add(field+".time", "is in the future and would outrank every other consent until then; leave it out to mean now")
				}
				consent.Time = now
			}
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

// destinationCheck returns a function that finds the first consent whose destination does not exist. The destinations are
// read once, when the first consent names one.
func (s *ingestService) destinationCheck(ctx context.Context) func([]audience.Consent) (at int, err error) {
	known := sync.OnceValues(func() (names []string, err error) {
		all, err := s.destinations.All(ctx)
		for _, d := range all {
			names = append(names, nameOf(destinationsCollection, d.ID))
		}
		return names, err
	})
	return func(consents []audience.Consent) (int, error) {
		for i, c := range consents {
			if c.Destination == "" {
				continue
			}
			names, err := known()
			if err != nil {
				return i, fmt.Errorf("read the destinations: %w", err)
			}
			if name := nameOf(destinationsCollection, c.Destination); !slices.Contains(names, name) {
				return i, fmt.Errorf("%w; there are: %s", &audience.ResourceError{Kind: audience.ErrNotFound, Name: name}, cmp.Or(strings.Join(names, ", "), "none yet"))
			}
		}
		return 0, nil
	}
}

// unusedPurposes warns of each purpose that no audience has: it may be misspelt.
func (s *ingestService) unusedPurposes(ctx context.Context, consents []audience.Consent) (warnings []string, err error) {
	if len(consents) == 0 {
		return nil, nil
	}
	all, err := s.audiences.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the purposes of audiences: %w", err)
	}
	used := []string{audience.DefaultPurpose}
	for _, a := range all {
		if a.Purpose != "" {
			used = append(used, a.Purpose)
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	unused := map[string]bool{}
	for _, c := range consents {
		unused[c.Purpose] = !slices.Contains(used, c.Purpose)
	}
	for _, purpose := range slices.Sorted(maps.Keys(unused)) {
		if unused[purpose] {
			warnings = append(warnings, fmt.Sprintf("no audience has the purpose %q; there are: %s", purpose, strings.Join(used, ", ")))
		}
	}
	return warnings, nil
}
