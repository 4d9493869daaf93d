package segmenter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
)

// evaluateEverybody evaluates everybody by what readers see and, beside it, by what the catalogue asks for instead. Then that
// comes into force at once, and what nobody sees any more is removed. Patient, it waits for a projection that is away: until
// that has everything, readers go on seeing what they saw.
func (s *Segmenter) evaluateEverybody(ctx context.Context, at time.Time, cause string, patient bool, progress Progress) (Evaluation, error) {
	s.everybody.Lock()
	defer s.everybody.Unlock()
	edition, err := s.Edition(ctx)
	if err != nil {
		return Evaluation{}, err
	}
	next, beside, err := s.plan(ctx, edition)
	if err != nil {
		return Evaluation{}, err
	}
	d, err := s.compile(ctx, edition, beside)
	if err != nil {
		return Evaluation{}, err
	}
	w := s.writer(at, func(audience.UserID) string { return cause }, progress)
	if w.result.Notes, err = d.untrained(); err != nil {
		return w.result, err
	}
	if err := s.bringUp(ctx, d, w); err != nil {
		return w.result, err
	}
	if next != nil {
		next.Cause = cause
		if err := s.turn(ctx, next, patient, progress); err != nil {
			return w.result, err
		}
		if err := s.afterTurn(ctx, edition, next, w); err != nil {
			return w.result, err
		}
	}
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	s.halfway = false
	return w.result, nil
}

// bringUp brings everybody's membership to what definitions say. It stages the evaluation, during which others go on, and
// then commits the differences some at a time. Who is evaluated in between is ahead of what was staged and passed over.
func (s *Segmenter) bringUp(ctx context.Context, d *definitions, w *changeWriter) error {
	now := w.at.IsZero()
	s.evaluating.Lock()
	if now {
		w.at = s.Now()
	}
	s.overtaken = map[audience.UserID]struct{}{}
	s.evaluating.Unlock()
	defer s.endOvertaking()

	staged, err := s.Log.Stage(ctx, d.program.Query(w.at))
	if err != nil {
		return fmt.Errorf("evaluate %d segments: %w", len(d.segments), err)
	}
	defer func() {
		if err := s.Log.Unstage(context.WithoutCancel(ctx), staged); err != nil {
			s.Logger.Warn("staged evaluation not dropped", "table", staged, "error", err)
		}
	}()
	if now {
		if err := s.timers.addStaged(ctx, s.Log, staged, w.at); err != nil {
			return err
		}
	}

	s.evaluating.Lock()
	s.inForce.Store(d)
	s.halfway = true
	behind := make([]audience.UserID, 0, len(s.overtaken)) // they were evaluated by the definitions before
	for user := range s.overtaken {
		behind = append(behind, user)
	}
	s.evaluating.Unlock()

	if err := s.commitAll(ctx, w, s.Log.StagedChanges(ctx, staged)); err != nil {
		return err
	}
	for some := range slices.Chunk(behind, stepUsers) {
		if _, err := s.evaluateSome(ctx, SortUsers(some), time.Time{}, w.cause, w.progress); err != nil {
			return err
		}
	}
	return nil
}

func (s *Segmenter) endOvertaking() {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	s.overtaken = nil
}

// commitAll commits changes of everybody some at a time, but for users evaluated since s.overtaken began.
func (s *Segmenter) commitAll(ctx context.Context, w *changeWriter, changes iter.Seq2[audience.Change, error]) error {
	commit := func() error {
		s.evaluating.Lock()
		defer s.evaluating.Unlock()
		w.batch = slices.DeleteFunc(w.batch, func(c audience.Change) bool {
			_, overtaken := s.overtaken[c.User]
			return overtaken
		})
		return w.commit(ctx)
	}
	for change, err := range changes {
		if err != nil {
			return fmt.Errorf("compare the membership of everybody: %w", err)
		}
		if w.batch = append(w.batch, change); len(w.batch) == changesBatch {
			if err := commit(); err != nil {
				return err
			}
		}
	}
	return commit()
}

// errBehind says that an edition cannot come into force because the projection has not all of what it names.
var errBehind = errors.New("the membership projection is behind")

// turn makes an edition, whose numbers are all on record, the one that readers see: durably by one row, then by one pointer.
// It does so at a moment at which the projection has everything, so that readers of either see the same.
func (s *Segmenter) turn(ctx context.Context, next *audience.Edition, patient bool, progress Progress) error {
	for {
		if err := s.projector.follow(ctx); err == nil {
			if err = s.turnNow(ctx, next); !errors.Is(err, errBehind) {
				return err
			}
		}
		if !patient {
			return errBehind
		}
		progress("waiting for the membership projection", 0, 0)
		if err := pause.For(ctx, followPause); err != nil {
			return err
		}
	}
}

func (s *Segmenter) turnNow(ctx context.Context, next *audience.Edition) error {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	last, err := s.certainVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the log's version: %w", err)
	}
	if !s.projector.has(last) {
		return errBehind
	}
	next.Version, next.Time = last+1, s.Now()
	if err := s.Log.PutEdition(context.WithoutCancel(ctx), next); err != nil {
		s.version.Store(0) // it may be durable all the same: whatever follows it must look
		return err
	}
	s.editions.publish(next)
	s.version.Store(next.Version)
	s.projector.pass(next.Version)
	s.watchers.turn()
	return nil
}

// certainVersion is the log's newest version. When that is not known, be it for a failure, an edition may have come into
// force that is not known either. evaluating is held.
func (s *Segmenter) certainVersion(ctx context.Context) (uint64, error) {
	if version := s.version.Load(); version != 0 {
		return version, nil
	}
	if err := s.readEditionsAnew(ctx); err != nil {
		return 0, err
	}
	return s.Log.LastVersion(ctx)
}

// afterTurn counts whom an edition has moved, and removes the numbers that nobody sees any more.
func (s *Segmenter) afterTurn(ctx context.Context, before, after *audience.Edition, w *changeWriter) error {
	w.edition, w.result.Version = after, after.Version
	renumbered := after.RenumberedSince(before)
	if len(renumbered) == 0 {
		return s.retire(ctx, after, nil, w)
	}
	for membership, err := range s.Log.Turned(ctx, after.Version, renumbered, "", 0) {
		if err != nil {
			return fmt.Errorf("count whom the edition moved: %w", err)
		}
		w.result.add(after.Turn(before, membership.Segments))
	}
	var gone []audience.Number
	for _, r := range renumbered {
		if r.Before != 0 {
			gone = append(gone, r.Before)
		}
	}
	return s.retire(ctx, after, gone, w)
}

// retire evaluates from now on what an edition says and nothing beside it, and removes numbers that are gone, when no other
// process reads by the edition before.
func (s *Segmenter) retire(ctx context.Context, edition *audience.Edition, gone []audience.Number, w *changeWriter) error {
	d, err := s.compile(ctx, edition, nil)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := pause.For(ctx, s.ReadElsewhere); err != nil {
			return err
		}
	}
	s.evaluating.Lock()
	s.inForce.Store(d)
	s.overtaken = map[audience.UserID]struct{}{} // who is evaluated from here on holds none of them
	s.evaluating.Unlock()
	defer s.endOvertaking()
	if len(gone) == 0 {
		return nil
	}
	w.at = s.Now()
	return s.commitAll(ctx, w, s.Log.Without(ctx, gone))
}
