package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// erased is the ledger's reason of a user whom the platform has removed from all audiences of the account.
const erased = "erased from every audience of the account"

// lookAgain is how often an erasure looks whether the sync under way has sent its stop.
const lookAgain = 200 * time.Millisecond

// Erased is what a platform has confirmed of an erased user.
type Erased struct {
	Audiences  int  // of the destination, none of which holds her
	Everywhere bool // she was removed from all audiences of the account, those made elsewhere included
}

// Erase sees to it that no audience of a destination holds a user any more, and, where the platform can do that, none of
// the whole account. Her stop must stand: nothing of her is sent meanwhile. Known are identifiers beside those in the ledger.
//
// When it returns without error the platform has confirmed it all. An error that is a *destination.Error says why it has
// not; Erase goes on from there when it is called again.
func (d *Deliverer) Erase(ctx context.Context, of audience.Destination, user audience.UserID, known []audience.Identifier) (Erased, error) {
	var done Erased
	all, err := d.Catalogue.Audiences(ctx)
	if err != nil {
		return done, fmt.Errorf("list audiences to erase a user from: %w", err)
	}
	made, err := d.connect(of)
	if err != nil {
		return done, fmt.Errorf("destination %s: %w", of.ID, err)
	}
	e := erasing{Deliverer: d, user: user, known: slices.Clone(known),
		target: target{destination: made, platform: of.Platform, account: d.account(of, made.Limits())}}
	e.eraser, _ = made.(destination.Eraser)
	for _, a := range all {
		if a.Destination != of.ID {
			continue
		}
		if err := e.from(ctx, a); err != nil {
			return done, fmt.Errorf("erase from audience %s: %w", a.ID, err)
		}
		done.Audiences++
	}
	if e.eraser == nil {
		return done, nil
	}
	if done.Everywhere, err = e.everywhere(ctx, all, of); err != nil {
		return done, fmt.Errorf("erase from the account: %w", err)
	}
	for _, a := range e.blocked {
		row, holds, err := e.row(ctx, a)
		if err == nil && holds {
			err = e.settle(ctx, a, row, erased)
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// erasing is the erasure of one user at one destination.
type erasing struct {
	*Deliverer
	target // without audience, segment and line
	user   audience.UserID
	known  []audience.Identifier
	eraser destination.Eraser // nil where the platform cannot

	blocked []audience.Audience // that take no removal now; she leaves them with all others of the account
}

// from removes the user from one audience, and waits for that.
func (e *erasing) from(ctx context.Context, a audience.Audience) error {
	l := e.lineOf(a.ID)
	for {
		row, holds, err := e.row(ctx, a)
		if err != nil || !holds {
			return err
		}
		e.known = append(e.known, row.Identifiers...)
		select {
		case l.sends <- struct{}{}:
			err := e.stop(ctx, a, row)
			e.leave(l)
			if busy(err) && e.eraser != nil {
				e.blocked = append(e.blocked, a)
				return nil
			}
			if err != nil {
				return err
			}
		case <-time.After(lookAgain): // a sync is under way: it stops her before its next request
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// row is the user's row in the ledger of an audience, if the platform may hold her. It is whole under the audience's lease only: who
// takes that settles what an earlier holder left in doubt. If another process has it now, that one has done so.
func (e *erasing) row(ctx context.Context, a audience.Audience) (row audience.Delivery, holds bool, err error) {
	t, err := e.Deliverer.target(ctx, a.ID)
	if err != nil {
		return row, false, err
	}
	release, err := e.hold(ctx, &t)
	if err == nil {
		defer release()
	} else if !errors.Is(err, audience.ErrConflict) {
		return row, false, err
	}
	for found, err := range e.Ledger.SyncRows(ctx, t.scope, audience.SyncRange{Users: []audience.UserID{e.user}}) {
		if err != nil {
			return row, false, fmt.Errorf("read the ledger: %w", err)
		}
		row, holds = found.Held, found.Held.State.MayHold()
	}
	if late, err := e.Ledger.MayBeAddedLate(ctx, a.Number, e.user); err != nil || !late || holds {
		return row, holds, err
	}
	return row, false, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience,
		Err: errors.New("a request to add the user, of a process that has ended, may still be carried out; it is waited for")}
}

// stop removes the user from an audience whose sends are the caller's.
func (e *erasing) stop(ctx context.Context, a audience.Audience, row audience.Delivery) error {
	err := e.stopIn(ctx, a.ID, []audience.UserID{e.user})
	var failure *destination.Error
	switch {
	case err == nil:
		if _, holds, err := e.row(ctx, a); err != nil || !holds {
			return err
		}
		return &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the platform has not confirmed the removal yet")}
	case errors.As(err, &failure) && failure.Kind == destination.Gone:
		return e.settle(ctx, a, row, vanished)
	}
	return err
}

// settle writes down that the platform does not hold the user, and why.
func (e *erasing) settle(ctx context.Context, a audience.Audience, row audience.Delivery, why string) error {
	row.State, row.Reason, row.Run, row.Time = audience.DeliveryRemoved, why, "erasure", time.Now().UTC()
	t, err := e.Deliverer.target(ctx, a.ID)
	if err != nil {
		return err
	}
	release, err := e.hold(ctx, &t)
	if err != nil {
		return err
	}
	defer release()
	return e.write(ctx, t, []audience.Delivery{row})
}

// everywhere removes the user from all audiences of the account by every identifier known of her. Members who share one
// leave with her: they are set back to sending first, while nobody else sends to their audiences, and restored.
func (e *erasing) everywhere(ctx context.Context, all []audience.Audience, of audience.Destination) (bool, error) {
	for _, a := range all {
		other, err := e.Catalogue.Destination(ctx, a.Destination)
		if err != nil {
			return false, err
		}
		if other.Platform != of.Platform || other.Account != of.Account {
			continue
		}
		giveBack, err := e.unsettle(ctx, a)
		defer giveBack()
		if err != nil {
			return false, err
		}
	}
	return e.send(ctx)
}

// unsettle sets the members of an audience back to sending who share an identifier with the user. If there are any, nobody
// sends to the audience until giveBack is called.
func (e *erasing) unsettle(ctx context.Context, a audience.Audience) (giveBack func(), err error) {
	giveBack = func() {}
	sharers, err := e.sharers(ctx, a)
	if err != nil || len(sharers) == 0 {
		return giveBack, err
	}
	l := e.lineOf(a.ID)
	select {
	case l.sends <- struct{}{}:
	case <-ctx.Done():
		return giveBack, ctx.Err()
	}
	var users []audience.UserID
	release := func() {}
	giveBack = func() {
		release()
		l.put(users)
		e.leave(l)
	}
	t, err := e.Deliverer.target(ctx, a.ID)
	if err != nil {
		return giveBack, err
	}
	held, err := e.hold(ctx, &t)
	if err != nil {
		return giveBack, err
	}
	release = held
	if sharers, err = e.sharers(ctx, a); err != nil {
		return giveBack, err
	}
	for i := range sharers {
		sharers[i].State, sharers[i].Reason, sharers[i].Run, sharers[i].Time = audience.DeliverySending, audience.ReasonSharing, "erasure", time.Now().UTC()
		users = append(users, sharers[i].User)
	}
	return giveBack, e.write(ctx, t, sharers)
}

// sharers are the rows of an audience's ledger, but the user's own, that hold one of her identifiers.
func (e *erasing) sharers(ctx context.Context, a audience.Audience) (sharers []audience.Delivery, err error) {
	for row, err := range e.Ledger.Sharers(ctx, a.Number, e.known) {
		if err != nil {
			return nil, fmt.Errorf("look for members who share identifiers with the user: %w", err)
		}
		if row.User != e.user {
			sharers = append(sharers, row)
		}
	}
	return sharers, nil
}

// send asks the platform to remove the user from all audiences of the account; asked is false when nothing is known by which
// it could find her.
func (e *erasing) send(ctx context.Context) (asked bool, err error) {
	slices.SortFunc(e.known, func(a, b audience.Identifier) int {
		return slices.Compare([]string{string(a.Scheme), a.Value}, []string{string(b.Scheme), b.Value})
	})
	batches, _ := e.destination.Split([]destination.Row{{User: e.user, Identifiers: slices.Compact(e.known)}}, destination.Remove)
	for _, b := range batches {
		err := e.try(ctx, e.Log, tellNobody, stopping, nil, func() (destination.Pace, error) {
			result, err := e.eraser.Erase(ctx, b) // identifiers it refuses are none it could hold her by
			return result.Pace, err
		})
		if err != nil {
			return false, err
		}
	}
	return len(batches) > 0, nil
}
