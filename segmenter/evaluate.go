package segmenter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// changesBatch is how many users' changes are made durable and projected at once: large enough for one insert to pay,
// small enough for constant memory.
const changesBatch = 50_000

// Evaluation is what an evaluation did.
type Evaluation struct {
	Changed int64 // steps of users from one membership that readers see to another
	Entered map[audience.SegmentID]int64
	Left    map[audience.SegmentID]int64
	Version uint64   // of the log after it
	Notes   []string // what people should know
}

// Evaluate brings the membership of the users (nil: of everybody) to what it is at an instant (zero: now): computes it,
// compares, appends the differences to the log and projects them. Everybody is computed by the database, in one query; some
// users are computed here, from excerpts of their histories, with the same answer. When it returns without error, the log
// holds the new membership; the projection does too, unless it was away, in which case Run heals it.
//
// An evaluation of everybody brings the definitions of the catalogue into force, changed ones all at once for whoever reads;
// one of some users uses those in force.
// One that is cancelled halfway leaves whole users done and the others as they were: repeat it. At an instant that was
// named, it starts no timers: those of the present go on.
func (s *Segmenter) Evaluate(ctx context.Context, users []audience.UserID, at time.Time, cause string, progress Progress) (Evaluation, error) {
	progress("evaluating", 0, 0)
	if users == nil {
		return s.evaluateEverybody(ctx, at, cause, true, progress)
	}
	return s.evaluateSome(ctx, users, at, func(audience.UserID) string { return cause }, progress)
}

// evaluateSome evaluates users by the definitions in force. cause says why each is looked at.
func (s *Segmenter) evaluateSome(ctx context.Context, users []audience.UserID, at time.Time, cause func(audience.UserID) string, progress Progress) (Evaluation, error) {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	d := s.inForce.Load()
	switch {
	case d == nil:
		var err error
		if d, err = s.definitions(ctx); err != nil {
			return Evaluation{}, err
		}
	case len(d.segments) == 0: // nobody is in any
		return Evaluation{Version: s.version.Load()}, nil
	}
	now := at.IsZero()
	if now {
		at = s.Now()
	}
	if s.overtaken != nil {
		for _, user := range users {
			s.overtaken[user] = struct{}{}
		}
	}
	w := s.writer(at, cause, progress)
	var timers []audience.Timer
	evaluator := d.program.At(at)
	for x, err := range s.Log.Excerpts(ctx, users, evaluator.Selection()) {
		if err != nil {
			return w.result, fmt.Errorf("evaluate %d segments of %d users: %w", len(d.segments), len(users), err)
		}
		if !x.Known {
			continue
		}
		segments, due := evaluator.Evaluate(x)
		if now && !due.IsZero() {
			timers = append(timers, audience.Timer{Due: due, User: x.User})
		}
		if change := audience.ChangeOf(x.User, x.Recorded, segments); len(change.Entered)+len(change.Left) > 0 {
			w.batch = append(w.batch, change)
		}
	}
	slices.SortFunc(w.batch, func(a, b audience.Change) int { return cmp.Compare(a.User, b.User) })
	s.timers.add(timers)
	err := w.commit(ctx)
	return w.result, err
}

// changeWriter commits the changes of one evaluation.
type changeWriter struct {
	*Segmenter
	edition  *audience.Edition
	at       time.Time
	cause    func(audience.UserID) string
	progress Progress
	batch    []audience.Change // by UserID
	result   Evaluation
}

func (s *Segmenter) writer(at time.Time, cause func(audience.UserID) string, progress Progress) *changeWriter {
	return &changeWriter{
		Segmenter: s, edition: s.editions.last(), at: at, cause: cause, progress: progress,
		result: Evaluation{Entered: map[audience.SegmentID]int64{}, Left: map[audience.SegmentID]int64{}},
	}
}

// commit makes the batch durable as one version of the log, projects it and tells the watchers. evaluating is held.
func (w *changeWriter) commit(ctx context.Context) error {
	last, err := w.certainVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the log's version: %w", err)
	}
	w.result.Version = last
	if len(w.batch) == 0 {
		return nil
	}
	for i := range w.batch {
		change := &w.batch[i]
		change.Version, change.Time, change.Cause = last+1, w.at, w.cause(change.User)
	}
	if err := w.Log.AppendChanges(ctx, w.batch); err != nil {
		// The log may hold them all the same: everything that follows it must look again.
		w.version.Store(0)
		w.projector.missed(err)
		w.watchers.missed()
		return fmt.Errorf("append %d changes to the log: %w", len(w.batch), err)
	}
	w.version.Store(last + 1)
	w.result.Version = last + 1
	w.projector.apply(ctx, w.batch)
	w.watchers.publish(w.batch)
	for _, change := range w.batch {
		w.result.add(w.edition.IDs(change.Entered), w.edition.IDs(change.Left))
	}
	w.progress("evaluating", w.result.Changed, 0)
	w.batch = w.batch[:0]
	return nil
}

// add counts one user's step, if readers see it.
func (e *Evaluation) add(entered, left []audience.SegmentID) {
	if len(entered)+len(left) == 0 {
		return
	}
	e.Changed++
	for _, id := range entered {
		e.Entered[id]++
	}
	for _, id := range left {
		e.Left[id]++
	}
}

// Summary is the evaluation as counts of a run: "changed", "entered/<segment>", "left/<segment>".
func (e Evaluation) Summary() map[string]int64 {
	counts := map[string]int64{"changed": e.Changed}
	for id, n := range e.Entered {
		counts["entered/"+string(id)] = n
	}
	for id, n := range e.Left {
		counts["left/"+string(id)] = n
	}
	return counts
}

// SortUsers makes a list of users what Evaluate and the stores like best: ascending, each once.
func SortUsers(users []audience.UserID) []audience.UserID {
	slices.Sort(users)
	return slices.Compact(users)
}
