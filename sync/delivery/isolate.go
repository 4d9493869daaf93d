package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// suspect is a row that was refused alone, in a request refused as a whole.
type suspect struct {
	fate  *fate
	cause *destination.Error
}

// mostSuspects in a row, and not one row accepted among them, prove the audience at fault.
const mostSuspects = 8

// isolationRequests bounds what finding the bad rows of a batch may take: to find one takes twice the doublings of its
// size, so this is enough for eight.
func isolationRequests(rows int) int { return mostSuspects * 2 * bits.Len(uint(rows)) }

// batch sends a batch and whatever parts of it finding its bad rows takes.
func (r *round) batch(ctx context.Context, b destination.Batch) error {
	r.accepted, r.spare = false, isolationRequests(len(b.Rows))
	err := r.deliver(ctx, b)
	if r.accepted {
		r.convict()
	}
	return err
}

// deliver sends a batch and settles its rows; those it leaves open are unknown. The error is one that ends the sync.
func (r *round) deliver(ctx context.Context, b destination.Batch) error {
	var result destination.Result
	answered := false // what went wrong did so with this request, not with what overtook it
	overtake := func(ctx context.Context) error {
		answered = false
		return r.overtake(ctx)
	}
	err := r.try(ctx, r.urgency(), overtake, func() (destination.Pace, error) {
		answered = true
		if b.Rows = r.remaining(b.Rows); len(b.Rows) == 0 {
			return destination.Pace{}, errNothing
		}
		r.report.Requests++
		var err error
		sending, settled := untilSettled(ctx)
		result, err = r.apply(sending, b)
		settled()
		if lost := r.stillHeld(ctx, r.target, func() []audience.Delivery { return r.concerned(b.Rows) }); lost != nil {
			return result.Pace, lost
		}
		return result.Pace, err
	})
	var failure *destination.Error
	switch {
	case err == nil && len(b.Rows) == 0 && r.rebuilds != nil: // all of them have been stopped
		r.rebuilds.over = r.rebuilds.over || r.rebuilds.open
		return nil
	case err == nil:
		return r.hear(ctx, b, result)
	case !answered || !errors.As(err, &failure):
		return err
	case failure.Kind == destination.TooLarge && len(b.Rows) == 1 && r.rebuilds != nil: // the adds that follow find out
		return nil
	case failure.Kind == destination.TooLarge && len(b.Rows) == 1:
		r.refuse(r.fates[b.Rows[0].User], "too large for a request of its own")
		return nil
	case failure.Kind == destination.Rejected && len(b.Rows) == 1:
		r.suspects = append(r.suspects, suspect{r.fates[b.Rows[0].User], failure})
		if !r.accepted && len(r.suspects) >= mostSuspects {
			return r.acquit()
		}
		return nil
	case failure.Kind == destination.TooLarge, failure.Kind == destination.Rejected:
		return r.halve(ctx, b)
	}
	return err
}

// hear settles the rows of a batch the platform took.
func (r *round) hear(ctx context.Context, b destination.Batch, result destination.Result) error {
	refused := make(map[int]bool, len(result.Rejected))
	for _, rejected := range result.Rejected {
		if !refused[rejected.Row] {
			refused[rejected.Row] = true
			r.refuse(r.fates[b.Rows[rejected.Row].User], rejected.Reason)
		}
	}
	rest := make([]destination.Row, 0, len(b.Rows)-len(refused))
	for i, row := range b.Rows {
		if !refused[i] {
			rest = append(rest, row)
		}
	}
	switch {
	case len(rest) == 0:
	case result.Unnamed == 0:
		r.accepted = true
		for _, row := range rest {
			r.confirm(row)
		}
	case r.rebuilds != nil: // whoever is not confirmed is added when it is over
	case len(rest) == 1:
		r.refuse(r.fates[rest[0].User], "refused by count, without a reason")
	default:
		b.Rows = rest
		return r.halve(ctx, b)
	}
	return nil
}

// halve sends the halves of a batch, as long as requests are left for that.
func (r *round) halve(ctx context.Context, b destination.Batch) error {
	middle := len(b.Rows) / 2
	for _, rows := range [][]destination.Row{b.Rows[:middle], b.Rows[middle:]} {
		if r.spare--; r.spare < 0 {
			return nil
		}
		half := b
		half.Rows = rows
		if err := r.deliver(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

// convict rejects the suspects: the platform took another row of their batch, or of a later one, so they are at fault.
func (r *round) convict() {
	for _, suspect := range r.suspects {
		cause := *suspect.cause
		cause.Remedy = "" // it is for the audience's owner, and the audience is well
		r.refuse(suspect.fate, cause.Error())
	}
	r.suspects = nil
}

// judge decides on the suspects left at the end of a pass: too few for a proof, and no row was taken beside them. If the
// platform says that members can be added and removed now, the rows are at fault.
func (r *round) judge(ctx context.Context) error {
	if len(r.suspects) == 0 {
		return nil
	}
	var status destination.Status
	err := r.try(ctx, r.urgency(), r.overtake, func() (destination.Pace, error) {
		var err error
		status, err = r.destination.Audience(ctx, r.audience.PlatformID)
		return destination.Pace{}, err
	})
	if err != nil {
		return fmt.Errorf("ask the platform about the audience: %w", err)
	}
	if !status.Writable {
		return r.acquit()
	}
	r.convict()
	return r.record(ctx)
}

// acquit blames the audience for what its rows were suspected of. They stay unknown.
func (r *round) acquit() error {
	cause := *r.suspects[0].cause
	r.suspects = nil
	cause.Scope = destination.OfAudience
	if cause.Remedy == "" {
		cause.Remedy = "the platform refused every row sent; check the audience and the account on the platform"
	}
	return &cause
}
