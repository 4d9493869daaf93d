package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

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
func (s *sending) batch(ctx context.Context, b destination.Batch) error {
	s.accepted, s.spare = false, isolationRequests(len(b.Rows))
	err := s.deliver(ctx, b)
	if s.accepted {
		s.convict()
	}
	return err
}

// deliver sends a batch and settles its rows; those it leaves open are unknown. The error is one that ends the sync.
func (s *sending) deliver(ctx context.Context, b destination.Batch) error {
	var result destination.Result
	err := s.try(ctx, s.Log, func() (destination.Pace, error) {
		s.report.Requests++
		var err error
		result, err = s.destination.Apply(ctx, s.audience.PlatformID, b)
		return result.Pace, err
	})
	var failure *destination.Error
	switch {
	case err == nil:
		return s.hear(ctx, b, result)
	case !errors.As(err, &failure):
		return err
	case failure.Kind == destination.TooLarge && len(b.Rows) == 1:
		s.refuse(s.fates[b.Rows[0].User], "too large for a request of its own")
		return nil
	case failure.Kind == destination.Rejected && len(b.Rows) == 1:
		s.suspects = append(s.suspects, suspect{s.fates[b.Rows[0].User], failure})
		if !s.accepted && len(s.suspects) >= mostSuspects {
			return s.acquit()
		}
		return nil
	case failure.Kind == destination.TooLarge, failure.Kind == destination.Rejected:
		return s.halve(ctx, b)
	}
	return err
}

// hear settles the rows of a batch the platform took.
func (s *sending) hear(ctx context.Context, b destination.Batch, result destination.Result) error {
	refused := make(map[int]bool, len(result.Rejected))
	for _, r := range result.Rejected {
		if !refused[r.Row] {
			refused[r.Row] = true
			s.refuse(s.fates[b.Rows[r.Row].User], r.Reason)
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
		s.accepted = true
		for _, row := range rest {
			s.confirm(row)
		}
	case len(rest) == 1:
		s.refuse(s.fates[rest[0].User], "refused by count, without a reason")
	default:
		b.Rows = rest
		return s.halve(ctx, b)
	}
	return nil
}

// halve sends the halves of a batch, as long as requests are left for that.
func (s *sending) halve(ctx context.Context, b destination.Batch) error {
	middle := len(b.Rows) / 2
	for _, rows := range [][]destination.Row{b.Rows[:middle], b.Rows[middle:]} {
		if s.spare--; s.spare < 0 {
			return nil
		}
		half := b
		half.Rows = rows
		if err := s.deliver(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

// convict rejects the suspects: the platform took another row of their batch, or of a later one, so they are at fault.
func (s *sending) convict() {
	for _, suspect := range s.suspects {
		cause := *suspect.cause
		cause.Remedy = "" // it is for the audience's owner, and the audience is well
		s.refuse(suspect.fate, cause.Error())
	}
	s.suspects = nil
}

// judge decides on the suspects left at the end of a pass: too few for a proof, and no row was taken beside them. If the
// platform says that members can be added and removed now, the rows are at fault.
func (s *sending) judge(ctx context.Context) error {
	if len(s.suspects) == 0 {
		return nil
	}
	var status destination.Status
	err := s.try(ctx, s.Log, func() (destination.Pace, error) {
		var err error
		status, err = s.destination.Audience(ctx, s.audience.PlatformID)
		return destination.Pace{}, err
	})
	if err != nil {
		return fmt.Errorf("ask the platform about the audience: %w", err)
	}
	if !status.Writable {
		return s.acquit()
	}
	s.convict()
	return s.record(ctx)
}

// acquit blames the audience for what its rows were suspected of. They stay unknown.
func (s *sending) acquit() error {
	cause := *s.suspects[0].cause
	s.suspects = nil
	cause.Scope = destination.OfAudience
	if cause.Remedy == "" {
		cause.Remedy = "the platform refused every row sent; check the audience and the account on the platform"
	}
	return &cause
}
