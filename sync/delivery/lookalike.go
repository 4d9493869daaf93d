package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// mostAsked is how long somebody waits for a platform's answer about a lookalike.
const mostAsked = 20 * time.Second

// CreateLookalike has the platform make a lookalike, unless it has made it already, and gives the platform's id. An
// InvalidError names the settings that the platform does not have; an ErrPrecondition says what a person has to do first; after an
// ErrUnavailable call it again: what was made is found again.
func (d *Deliverer) CreateLookalike(ctx context.Context, l audience.Lookalike) (platformID string, err error) {
	err = d.askLookalikes(ctx, l, func(ctx context.Context, t target, can destination.Lookalikes) error {
		if t.audience.PlatformID == "" {
			return audience.Invalid("source", "was never synced; sync it first: the platform knows nobody of it yet")
		}
		platformID, err = can.EnsureLookalike(ctx, lookalikeSpecOf(l, t.audience))
		return err
	})
	return platformID, err
}

// Lookalike is what the platform has made of a lookalike.
func (d *Deliverer) Lookalike(ctx context.Context, l audience.Lookalike) (status audience.LookalikeStatus, err error) {
	err = d.askLookalikes(ctx, l, func(ctx context.Context, _ target, can destination.Lookalikes) error {
		found, err := can.Lookalike(ctx, l.PlatformID)
		s := found.Status
		status = audience.LookalikeStatus{State: strings.ReplaceAll(s.State.String(), " ", "_"), Reason: s.Reason, Remedy: s.Remedy, Low: s.Low, High: s.High}
		return err
	})
	return status, err
}

// DeleteLookalike deletes a lookalike from its platform; one that is gone already is no error.
func (d *Deliverer) DeleteLookalike(ctx context.Context, l audience.Lookalike) error {
	return d.askLookalikes(ctx, l, func(ctx context.Context, _ target, can destination.Lookalikes) error {
		return can.DeleteLookalike(ctx, l.PlatformID)
	})
}

// lookalikeSpecOf says which lookalike to make. Its key holds the moment the source was created, as that of an audience does.
func lookalikeSpecOf(l audience.Lookalike, source audience.Audience) destination.LookalikeSpec {
	named := source
	named.ID, named.PlatformName = audience.AudienceID(l.ID), l.PlatformName
	spec := specOf(named)
	return destination.LookalikeSpec{
		Key: spec.Key, Name: spec.Name, Seed: source.PlatformID, Places: l.Places,
		Ratio: l.Ratio, StartingRatio: l.StartingRatio,
		Size: strings.ToUpper(l.Size), MobileOS: strings.ToUpper(l.MobileOS), Placements: l.Placements, IncludeSeed: l.IncludeSource,
	}
}

// askLookalikes asks the platform of a lookalike's source, at its pace.
func (d *Deliverer) askLookalikes(ctx context.Context, l audience.Lookalike, ask func(context.Context, target, destination.Lookalikes) error) error {
	source, err := d.Catalogue.Audience(ctx, l.Source)
	if err != nil {
		return err
	}
	of, err := d.Catalogue.Destination(ctx, source.Destination)
	if err != nil {
		return err
	}
	made, err := d.connect(of)
	if err != nil {
		return fmt.Errorf("destination %s: %w", of.ID, err)
	}
	can, is := made.(destination.Lookalikes)
	if !is {
		return audience.Invalid("source", "is at a platform that makes no lookalikes")
	}
	t := target{audience: source, destination: made, platform: of.Platform, account: d.account(of, made.Limits())}
	asking, cancel := context.WithTimeout(ctx, mostAsked)
	defer cancel()
	var failure *destination.Error
	err = t.try(asking, d.Log, tellNobody, adding, nil, func() (destination.Pace, error) {
		err := ask(asking, t, can)
		if errors.As(err, &failure) && failure.RetryAfter > mostAsked {
			cancel() // nobody waits here for that long
		}
		return destination.Pace{}, err
	})
	switch {
	case err == nil:
		return nil
	case asking.Err() != nil && ctx.Err() == nil && failure != nil && failure.RetryAfter > 0:
		return &audience.UnavailableError{What: string(t.platform), RetryAfter: failure.RetryAfter, Err: failure}
	case asking.Err() != nil && ctx.Err() == nil:
		return &audience.UnavailableError{What: fmt.Sprintf("%s, which has not answered in time,", t.platform), RetryAfter: mostAsked, Err: err}
	case !errors.As(err, &failure):
		return asSource(err)
	case passing(failure.Kind):
		return &audience.UnavailableError{What: string(t.platform), RetryAfter: max(failure.RetryAfter, time.Second), Err: err}
	}
	return fmt.Errorf("%s: %w: %w", t.platform, err, audience.ErrPrecondition)
}

// asSource names the fields of an InvalidError as those of a lookalike.
func asSource(err error) error {
	var invalid *audience.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var v audience.Violations
	for _, fault := range invalid.Violations {
		field := map[string]string{"seed": "source", "include_seed": "include_source"}[fault.Field]
		if field == "" {
			field = fault.Field
		}
		v = append(v, audience.Violation{Field: field, Reason: fault.Reason})
	}
	return v.Err()
}
