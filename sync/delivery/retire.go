package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// retired is the ledger's reason of users whom the platform no longer holds because their audience was deleted.
const retired = "the audience was deleted"

// mostHeld is how long a deletion waits for its account; somebody waits for the answer.
const mostHeld = 5 * time.Second

// Retire deletes an audience from the platform, with everybody in it, and then writes down that nobody is held any more.
// One that is gone already, or never was there, is no error, and repeating it is harmless. While the platform does not
// delete it nothing changes: the error is an ErrUnavailable, or an ErrPrecondition that says what a person has to do.
func (d *Deliverer) Retire(ctx context.Context, id audience.AudienceID) error {
	a, err := d.Catalogue.Audience(ctx, id)
	if err != nil || a.PlatformID == "" && !a.PlatformFiles {
		return err
	}
	l := d.lineOf(id)
	if !l.syncing.TryLock() {
		return fmt.Errorf("audience %s is being synced; wait for the end of it: %w", id, audience.ErrConflict)
	}
	defer l.syncing.Unlock()
	select {
	case l.sends <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer d.leave(l)
	t, err := d.target(ctx, id) // anew: a sync may just have ended
	if err != nil {
		return err
	}
	release, err := d.hold(ctx, &t)
	if err != nil {
		return err
	}
	defer release()
	if err := d.findMade(ctx, &t, "retire"); err != nil {
		return stays(t, err)
	}
	if t.audience.PlatformID == "" {
		return nil
	}
	if err := d.deleteFrom(ctx, t); err != nil {
		return stays(t, err)
	}
	if err := d.forget(ctx, t, "retire", retired); err != nil {
		return fmt.Errorf("forget whom audience %s held: %w", id, err)
	}
	return d.place(ctx, t, "", false)
}

// deleteFrom asks the platform once to delete the audience.
func (d *Deliverer) deleteFrom(ctx context.Context, t target) error {
	waiting, cancel := context.WithTimeout(ctx, mostHeld)
	defer cancel()
	if err := t.account.turn(waiting, removing); err != nil {
		if ctx.Err() == nil && waiting.Err() != nil {
			wait, because := t.account.held()
			err = &destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: wait, Err: errors.New(because)}
		}
		return err
	}
	err := t.destination.DeleteAudience(ctx, t.audience.PlatformID)
	t.account.leave(destination.Pace{}, err)
	return err
}

// stays says why an audience was not deleted, and what to do.
func stays(t target, err error) error {
	var failure *destination.Error
	if !errors.As(err, &failure) {
		return fmt.Errorf("delete audience %s from %s: %w", t.audience.ID, t.platform, err)
	}
	if passing(failure.Kind) {
		return &audience.UnavailableError{
			What:       fmt.Sprintf("audience %s stays as it is, with its members on the platform; delete it again later: %s", t.audience.ID, t.platform),
			RetryAfter: max(failure.RetryAfter, time.Second), Err: err,
		}
	}
	return fmt.Errorf("audience %s stays as it is, with its members on the platform; delete it again once %s lets you: %w: %w",
		t.audience.ID, t.platform, err, audience.ErrPrecondition)
}
