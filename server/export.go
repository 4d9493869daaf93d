package server

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// exporter writes what is stored of one user as messages.
type exporter struct {
	*privacyService
	audiences map[audience.Number]string // names; nil until the first is asked for
}

func (e *exporter) message(ctx context.Context, stored audience.Stored) (*audiencev1.ExportUserResponse, error) {
	switch {
	case stored.Profile != nil:
		p := stored.Profile
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Profile{Profile: &audiencev1.StoredProfile{
			Country: p.Country, Attributes: writeProperties(p.Texts, p.Numbers), Identifiers: writeIdentifiers(p.Identifiers),
		}}}, nil
	case stored.Consent != nil:
		c := stored.Consent
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Consent{Consent: &audiencev1.Consent{
			Purpose: c.Purpose, Destination: nameOf(destinationsCollection, c.Destination), Granted: c.Granted, Time: timestampOf(c.Time),
		}}}, nil
	case stored.Event != nil:
		v := stored.Event
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Event{Event: &audiencev1.Event{
			UserId: string(v.User), EventId: v.ID, Type: v.Type, Time: timestampOf(v.Time), ValueMicros: v.ValueMicros, Properties: writeProperties(v.Texts, v.Numbers),
		}}}, nil
	case stored.Membership != nil:
		segments, err := e.live.EverNamed(ctx, stored.Membership.Segments)
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Membership{Membership: &audiencev1.Membership{
			UserId: string(stored.Membership.User), Segments: segmentNames(segments), Version: stored.Membership.Version,
		}}}, err
	case stored.Change != nil:
		message, err := e.change(ctx, *stored.Change)
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Change{Change: message}}, err
	case stored.Move != nil:
		m := stored.Move
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Move{Move: &audiencev1.StoredMove{
			Into: segmentNames(m.Into), OutOf: segmentNames(m.OutOf), Release: segmentNames(m.Release), Reason: m.Reason, Actor: m.Actor,
			Time: timestampOf(m.Time), ExpireTime: timestampOf(m.Expires),
		}}}, nil
	case stored.Delivery != nil:
		d := stored.Delivery
		name, err := e.audienceName(ctx, d.Audience)
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Delivery{Delivery: &audiencev1.StoredDelivery{
			Audience: name, State: string(d.State), Identifiers: writeIdentifiers(d.Identifiers), Value: d.Value, Reason: d.Reason, Time: timestampOf(d.Time),
		}}}, err
	case stored.Stop != nil:
		p := stored.Stop
		name, err := e.audienceName(ctx, p.Audience)
		return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Stop{Stop: &audiencev1.StoredStop{
			Audience: name, Reason: p.Reason, ExpireTime: timestampOf(p.Until), Time: timestampOf(p.Time),
		}}}, err
	}
	return &audiencev1.ExportUserResponse{Record: &audiencev1.ExportUserResponse_Other{Other: &audiencev1.StoredRow{
		Table: stored.Other.Table, Columns: stored.Other.Columns,
	}}}, nil
}

// change is a row of the log, with whatever names its numbers have ever had: readers may have seen some of it at another time.
func (e *exporter) change(ctx context.Context, c audience.Change) (*audiencev1.MembershipChange, error) {
	entered, err := e.live.EverNamed(ctx, c.Entered)
	if err != nil {
		return nil, err
	}
	left, err := e.live.EverNamed(ctx, c.Left)
	return writeChange(audience.WatchedChange{User: c.User, Version: c.Version, Entered: entered, Left: left, Time: c.Time, Cause: c.Cause}), err
}

// audienceName is the name of an audience by its number; "" for 0, and for one that was deleted.
func (e *exporter) audienceName(ctx context.Context, number audience.Number) (string, error) {
	if e.audiences == nil {
		all, err := e.privacyService.audiences.All(ctx)
		if err != nil {
			return "", err
		}
		e.audiences = make(map[audience.Number]string, len(all))
		for _, a := range all {
			e.audiences[a.Number] = nameOf(audiencesCollection, a.ID)
		}
	}
	return e.audiences[number], nil
}

func segmentNames(ids []audience.SegmentID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = nameOf(segmentsCollection, id)
	}
	return names
}

// writeProperties is readProperties backwards.
func writeProperties(texts map[string]string, numbers map[string]float64) map[string]*audiencev1.PropertyValue {
	out := make(map[string]*audiencev1.PropertyValue, len(texts)+len(numbers))
	for name, text := range texts {
		out[name] = &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Text{Text: text}}
	}
	for name, number := range numbers {
		out[name] = &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Number{Number: number}}
	}
	return out
}
