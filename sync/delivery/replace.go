package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// longestFinish is how long a sync waits for the platform to take in a replacement.
const longestFinish = 24 * time.Hour

// replace rebuilds the audience by a replacement. With a nil error whatever it has left is for the adds and removals that
// follow: all of the plan, if the platform does not take a replacement.
func (s *sending) replace(ctx context.Context) (err error) {
	replacer, ok := s.destination.(destination.Replacer)
	if !ok {
		return fmt.Errorf("%s cannot replace audiences", s.platform)
	}
	s.show("making ready to replace all members")
	p := s.report.Plan
	var replacement destination.Replacement
	err = s.try(ctx, adding, nil, func() (pace destination.Pace, err error) {
		replacement, err = replacer.BeginReplace(ctx, s.audience.PlatformID, destination.ReplaceSpec{
			Rows: p.Unchanged + p.Additions + p.Changes + p.Revalued, Valued: s.valued()})
		return pace, err
	})
	var failure *destination.Error
	if errors.As(err, &failure) && failure.Kind == destination.Misconfigured && failure.Scope == destination.OfRequest {
		s.Log.Info("the platform takes no replacement, members are added and removed", "audience", s.audience.ID, "run", s.run, "because", failure.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("make ready to replace: %w", err)
	}
	r := &replacing{rebuild: s.rebuild(), replacement: replacement}
	r.apply = r.send
	defer func() { r.end(err) }()
	if err := r.intendAll(ctx); err != nil {
		return fmt.Errorf("write down whom a replacement concerns: %w", err)
	}
	err = r.sendAll(ctx)
	r.suspects = nil // the adds that follow find out
	if err != nil || !r.begun {
		return err
	}
	switch err := r.finish(ctx); {
	case err == nil:
		return r.settle(ctx)
	case errors.As(err, &failure) && failure.Kind == destination.Rejected:
		s.Log.Warn("replacement failed, members are added and removed", "audience", s.audience.ID, "run", s.run, "because", failure.Error())
		return nil
	default:
		return fmt.Errorf("wait for the platform to take in the replacement: %w", err)
	}
}

// replacing is a rebuild by a replacement under way.
type replacing struct {
	*rebuild
	replacement destination.Replacement

	last   bool              // the batch being sent is to be the last
	begun  bool              // the platform has taken a batch: nobody is held but whom it took
	closed bool              // it has taken the last batch
	known  destination.Batch // taken lately
}

// parcel is a batch with the fates of its users.
type parcel struct {
	destination.Batch
	fates map[audience.UserID]*fate
}

// sendAll sends everybody, batch by batch, each once the next is known: one has to be the last.
func (r *replacing) sendAll(ctx context.Context) error {
	r.show("replacing all members")
	var ahead *parcel
	for p, err := range r.parcels(ctx) {
		if err != nil {
			return err
		}
		if ahead != nil {
			if err := r.sendOne(ctx, *ahead, false); err != nil || r.closed || r.over {
				return err
			}
		}
		ahead = &p
	}
	if ahead == nil {
		return nil
	}
	return r.sendOne(ctx, *ahead, true)
}

// parcels yields the batches of all users, in UserID order.
func (r *replacing) parcels(ctx context.Context) iter.Seq2[parcel, error] {
	return func(yield func(parcel, error) bool) {
		within := audience.SyncRange{Agreed: true}
		for more := true; more; {
			var page []audience.SyncRow
			var err error
			page, more, err = r.read(ctx, &within, r.pageUsers, func(row audience.SyncRow) bool {
				_, some := r.rowOf(row)
				return some
			})
			if err != nil {
				yield(parcel{}, err)
				return
			}
			rows := make([]destination.Row, len(page))
			sent := r.fates // of the parcel that is ahead
			r.fates = make(map[audience.UserID]*fate, len(page))
			for i, row := range page {
				rows[i], _ = r.rowOf(row)
				m, _ := markOf(row.Held)
				r.fates[row.User] = &fate{kind: m.kind, op: r.op, user: row.User, sent: rows[i].Identifiers, value: rows[i].Value, before: row.Held.Identifiers, intended: true}
			}
			fates := r.fates
			batches, err := r.split(ctx, rows)
			r.fates = sent
			if err != nil {
				yield(parcel{}, err)
				return
			}
			for _, b := range batches {
				if !yield(parcel{b, fates}, nil) {
					return
				}
			}
		}
	}
}

// sendOne sends a parcel, as the last if it is or if a stop waits for the end.
func (r *replacing) sendOne(ctx context.Context, p parcel, last bool) error {
	r.fates = p.fates
	if err := r.heed(ctx); err != nil {
		return err
	}
	p.Rows = r.remaining(p.Rows)
	r.last = last || r.short && r.begun
	r.rows = p.Rows
	if len(p.Rows) > 0 {
		err := r.batch(ctx, p.Batch)
		r.leaveOpen(p.Rows)
		if err := errors.Join(err, r.record(ctx)); err != nil {
			return err
		}
	}
	if (last || r.short) && r.begun && !r.closed && !r.over {
		return r.close(ctx)
	}
	return nil
}

// leaveOpen has the ledger say of users that the platform may hold them as they were sent, though it has not spoken on all of
// their rows; before it has taken a batch, as they were held, too.
func (r *replacing) leaveOpen(rows []destination.Row) {
	for _, row := range rows {
		f := r.fates[row.User]
		if f.open == 0 || f.asked || !r.begun && !r.open {
			continue
		}
		f.asked = true
		unsure := *f
		if !r.begun {
			unsure.sent = f.before
		}
		r.unconfirmed = append(r.unconfirmed, &unsure)
	}
}

// send is the request of a batch.
func (r *replacing) send(ctx context.Context, b destination.Batch) (destination.Result, error) {
	if r.over {
		return destination.Result{Unnamed: len(b.Rows)}, nil
	}
	result, err := r.replacement.Send(ctx, b, r.last)
	var failure *destination.Error
	r.open = errors.As(err, &failure) && passing(failure.Kind)
	switch {
	case errors.Is(err, destination.ErrReplaceOver):
		r.over, r.open = true, false
		result.Rejected, result.Unnamed = nil, len(b.Rows)
		return result, nil
	case errors.As(err, &failure) && (failure.Kind == destination.Rejected || failure.Kind == destination.TooLarge):
		r.last = false // which of its parts will be the last nobody knows yet
	case err == nil:
		r.begun, r.closed = true, r.last
		if result.Unnamed == 0 && len(result.Rejected) == 0 {
			r.known = b
		}
	}
	return result, err
}

// close ends the replacement by sending somebody again, because no batch was left to be the last. Where there is nobody, the
// platform ends it when its time is over.
func (r *replacing) close(ctx context.Context) error {
	return r.try(ctx, r.urgency(), r.heed, func() (destination.Pace, error) {
		again := slices.IndexFunc(r.known.Rows, func(row destination.Row) bool { return !r.stopped[row.User] })
		if again < 0 {
			return destination.Pace{}, errNothing
		}
		b := r.known
		b.Rows, r.last = b.Rows[again:again+1], true
		r.report.Requests++
		result, err := r.send(ctx, b)
		return result.Pace, err
	})
}

// finish waits until the platform has taken in what was sent.
func (r *replacing) finish(ctx context.Context) error {
	r.show("waiting for the platform to take in the replacement")
	for until := time.Now().Add(longestFinish); ; {
		err := r.try(ctx, removing, nil, func() (destination.Pace, error) { return destination.Pace{}, r.replacement.Finish(ctx) })
		if !busy(err) || time.Now().After(until) {
			return err
		}
	}
}
