package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// vanished is the ledger's reason of users whom the platform no longer holds because the audience does not exist any more.
const vanished = "the audience vanished from the platform"

// Recreate has the next sync create the audience anew on the platform and load all members. It is a person's order, for an
// audience that someone deleted there; ErrPrecondition while the platform still has it, for whom it holds would be
// forgotten. Repeating it is harmless.
func (d *Deliverer) Recreate(ctx context.Context, id audience.AudienceID, run audience.RunID) error {
	l := d.lineOf(id)
	if !l.syncing.TryLock() {
		return fmt.Errorf("audience %s is being synced; wait for the end of it: %w", id, audience.ErrConflict)
	}
	defer l.syncing.Unlock()
	t, err := d.target(ctx, id)
	if err != nil || t.audience.PlatformID == "" {
		return err
	}
	release, err := d.hold(ctx, &t)
	if err != nil {
		return err
	}
	defer release()
	select {
	case l.sends <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer d.leave(l)
	if err := d.isGone(ctx, t); err != nil {
		return err
	}
	if err := d.forget(ctx, t, run, vanished); err != nil {
		return fmt.Errorf("forget whom audience %s held: %w", id, err)
	}
	// Last: until then, whatever happens, the platform says that the audience is gone, and the order can be repeated.
	return d.place(ctx, t, "", false)
}

// isGone makes sure that the platform does not have the audience any more.
func (d *Deliverer) isGone(ctx context.Context, t target) error {
	err := t.try(ctx, d.Log, tellNobody, adding, nil, func() (destination.Pace, error) {
		_, err := t.destination.Audience(ctx, t.audience.PlatformID)
		return destination.Pace{}, err
	})
	var failure *destination.Error
	switch {
	case err == nil:
		return fmt.Errorf("audience %s still exists on the platform; delete it there first: %w", t.audience.ID, audience.ErrPrecondition)
	case errors.As(err, &failure) && failure.Kind == destination.Gone:
		return nil
	}
	return fmt.Errorf("ask the platform about audience %s: %w", t.audience.ID, err)
}

// forget writes down that the platform holds nobody, and why.
func (d *Deliverer) forget(ctx context.Context, t target, run audience.RunID, why string) error {
	return d.rewrite(ctx, t, func(row *audience.Delivery) bool {
		held := row.State.MayHold()
		row.State, row.Reason, row.Run = audience.DeliveryRemoved, why, run
		return held
	})
}

// rewrite writes rows of an audience's ledger anew that change has changed.
func (d *Deliverer) rewrite(ctx context.Context, t target, change func(*audience.Delivery) bool) error {
	var page []audience.Delivery
	for row, err := range d.Ledger.Deliveries(ctx, t.audience.Number) {
		if err != nil {
			return err
		}
		if !change(&row) {
			continue
		}
		row.Time = time.Now().UTC()
		if page = append(page, row); len(page) == d.pageUsers {
			if err := d.write(ctx, t, page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	return d.write(ctx, t, page)
}
