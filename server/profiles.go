package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// Bounds of what one profile may name.
const (
	maxIdentifiers     = 64
	maxIdentifierBytes = 512 // an e-mail has at most 254, no name or city comes near
)

func (s *ingestService) UpsertProfiles(ctx context.Context, req *audiencev1.UpsertProfilesRequest) (*audiencev1.UpsertProfilesResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpsertProfilesResponse, error) {
		rows := req.GetProfiles()
		if err := checkBatch("profiles", len(rows)); err != nil {
			return nil, err
		}
		out := &audiencev1.UpsertProfilesResponse{Results: make([]*audiencev1.ProfileResult, len(rows))}
		updates := make([]audience.ProfileUpdate, 0, len(rows))
		var consents []audience.Consent
		check := s.destinationCheck(ctx)
		for i, row := range rows {
			update, words, dropped, err := s.readProfile(row)
			if at, unknown := check(words); errors.Is(unknown, audience.ErrNotFound) {
				err = audience.Invalid("consents["+strconv.Itoa(at)+"].destination", "%v", unknown)
			} else if unknown != nil {
				return nil, unknown
			}
			if err != nil {
				out.Results[i] = &audiencev1.ProfileResult{Status: audiencev1.ProfileResult_STATUS_INVALID, Violations: violationsOf(err)}
				out.InvalidCount++
				continue
			}
			updates, consents = append(updates, update), append(consents, words...)
			out.Results[i] = &audiencev1.ProfileResult{Status: audiencev1.ProfileResult_STATUS_ACCEPTED, DroppedIdentifiers: dropped}
			out.AcceptedCount++
		}
		var err error
		if out.Warnings, err = s.unusedPurposes(ctx, consents); err != nil {
			return nil, err
		}
		if err := s.profiles.UpsertProfiles(ctx, updates); err != nil {
			return nil, fmt.Errorf("write %d profiles: %w", len(updates), err)
		}
		if err := s.profiles.SetConsents(ctx, consents); err != nil {
			return nil, fmt.Errorf("record %d consents: %w", len(consents), err)
		}
		out.FreshnessToken = s.live.Token()
		return out, nil
	})
}

// readProfile is the update in a row, its identifiers hashed, or an InvalidError with all its faults.
func (s *ingestService) readProfile(row *audiencev1.ProfileUpdate) (audience.ProfileUpdate, []audience.Consent, []*audiencev1.FieldViolation, error) {
	var v audience.Violations
	update := audience.ProfileUpdate{
		User:               audience.UserID(row.GetUserId()),
		Country:            row.Country,
		RemovedAttributes:  row.GetRemovedAttributes(),
		ReplaceIdentifiers: row.GetIdentifiers() != nil,
	}
	update.Texts, update.Numbers = readProperties(&v, "attributes", row.GetAttributes())
	v.Merge("", update.Validate())
	if s.erased(update.User) {
		v.Add("user_id", erasedUser)
	}
	for _, name := range update.RemovedAttributes {
		if _, set := row.GetAttributes()[name]; set {
			v.Add("removed_attributes", "names an attribute that is set as well; choose one")
		}
	}
	consents := s.readConsents(&v, update.User, row.GetConsents())
	facts := readFacts(&v, row.GetIdentifiers().GetIdentifiers())
	if err := v.Err(); err != nil {
		return update, nil, nil, err
	}
	identifiers, dropped := s.identify(facts)
	update.Identifiers = identifiers
	return update, consents, describeDropped(dropped), nil
}

// readFacts are the identifiers as the hasher takes them. Faults never repeat a value.
func readFacts(v *audience.Violations, identifiers []*audiencev1.Identifier) []Fact {
	if len(identifiers) > maxIdentifiers {
		v.Add("identifiers", "has %d entries; at most %d are allowed", len(identifiers), maxIdentifiers)
		return nil
	}
	facts := make([]Fact, 0, len(identifiers))
	for i, identifier := range identifiers {
		path := "identifiers[" + strconv.Itoa(i) + "]"
		field, ok := wordOf(identifier.GetField())
		switch {
		case !ok:
			v.Add(path+".field", "is missing or not known to this version; see Identifier.Field")
		case identifier.GetValue() == "":
			v.Add(path+".value", "is empty; leave the identifier out")
		case len(identifier.GetValue()) > maxIdentifierBytes:
			v.Add(path+".value", "has %d bytes; at most %d are allowed", len(identifier.GetValue()), maxIdentifierBytes)
		case identifier.GetScheme() != "" && !identifier.GetHashed():
			v.Add(path+".scheme", "is for hashed values only; leave it out or set hashed")
		}
		facts = append(facts, Fact{
			Field: field, Value: identifier.GetValue(), Hashed: identifier.GetHashed(), Scheme: audience.Scheme(identifier.GetScheme()),
		})
	}
	return facts
}

// describeDropped says which identifiers were left out, and why.
func describeDropped(dropped []DroppedFact) []*audiencev1.FieldViolation {
	out := make([]*audiencev1.FieldViolation, 0, len(dropped))
	for _, d := range dropped {
		reason := d.Reason
		if len(d.Schemes) > 0 {
			schemes := make([]string, len(d.Schemes))
			for i, scheme := range d.Schemes {
				schemes[i] = string(scheme)
			}
			slices.Sort(schemes)
			reason += " (left out for " + strings.Join(schemes, ", ") + ")"
		}
		out = append(out, &audiencev1.FieldViolation{Field: "identifiers[" + strconv.Itoa(d.Fact) + "].value", Description: reason})
	}
	return out
}
