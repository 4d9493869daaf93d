package segmenter

import (
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
	Changed int64 // users whose membership changed
	Entered map[audience.SegmentID]int64
	Left    map[audience.SegmentID]int64
	Version uint64 // of the log after it
}

// Evaluate brings the membership of the users (nil: of everybody) to what it is at the instant at: computes it with one
// query, compares, appends the differences to the log and projects them. When it returns without error, the log holds
// the new membership; the projection does too, unless it was away, in which case Run heals it.
// An evaluation that is cancelled halfway leaves whole users done and the others as they were: repeat it.
func (s *Segmenter) Evaluate(ctx context.Context, users []audience.UserID, at time.Time, cause string, progress Progress) (Evaluation, error) {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()

	program, segments, err := s.program(ctx)
	if err != nil {
		return Evaluation{}, fmt.Errorf("compile segments: %w", err)
	}
	last, err := s.Log.LastVersion(ctx)
	if err != nil {
		return Evaluation{}, fmt.Errorf("read the log's version: %w", err)
	}
	result := Evaluation{Entered: map[audience.SegmentID]int64{}, Left: map[audience.SegmentID]int64{}, Version: last}
	ids := make(map[audience.Number]audience.SegmentID, len(segments))
	for _, segment := range segments {
		ids[segment.Number] = segment.ID
	}

	progress("evaluating", 0, 0)
	batch := make([]audience.Change, 0, min(changesBatch, 1024))
	commit := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := s.Log.AppendChanges(ctx, batch); err != nil {
			return fmt.Errorf("append %d changes to the log: %w", len(batch), err)
		}
		result.Version = last + 1
		s.projector.apply(ctx, batch)
		result.Changed += int64(len(batch))
		progress("evaluating", result.Changed, 0)
		batch = batch[:0]
		return nil
	}
	for change, err := range s.Log.Diff(ctx, program.Query(at, users), users == nil) {
		if err != nil {
			return result, fmt.Errorf("evaluate %d segments: %w", len(segments), err)
		}
		change.Version, change.Time, change.Cause = last+1, at, cause
		count(result.Entered, ids, change.Entered)
		count(result.Left, ids, change.Left)
		if batch = append(batch, change); len(batch) == changesBatch {
			if err := commit(); err != nil {
				return result, err
			}
		}
	}
	return result, commit()
}

// count adds the segments to their counters; a segment that was deleted counts for nobody.
func count(counters map[audience.SegmentID]int64, ids map[audience.Number]audience.SegmentID, numbers []audience.Number) {
	for _, number := range numbers {
		if id, known := ids[number]; known {
			counters[id]++
		}
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
