package segmenter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// People reads what is on record about single users.
type People interface {
	// EventsOf are the events of a user, the newest first, at most limit.
	EventsOf(ctx context.Context, user audience.UserID, limit int) ([]audience.Event, error)
	GetProfile(ctx context.Context, user audience.UserID) (audience.Profile, error) // ErrNotFound without one
	Pins(ctx context.Context, user audience.UserID) ([]audience.Pin, error)
	Score(ctx context.Context, model audience.Number, version uint32, user audience.UserID) (audience.Score, error) // ErrNotFound without one
	ChangesOf(ctx context.Context, user audience.UserID) iter.Seq2[audience.Change, error]                          // the newest first
}

// maxExplainedHistory bounds the events an explanation reads.
const maxExplainedHistory = 100_000

// Explain says why a user is in a segment at an instant (zero: now), or is not, clause by clause with the values and events
// that decide. For the past, later events do not count and the definition is the one in force then, or the present one if there
// was none; profile, pins and scores are those of now.
func (s *Segmenter) Explain(ctx context.Context, user audience.UserID, segment audience.Segment, at time.Time) (audience.Explanation, error) {
	edition, err := s.explained(ctx, segment, at)
	if err != nil {
		return audience.Explanation{}, err
	}
	if at.IsZero() {
		at = s.Now()
	}
	d, err := s.compile(ctx, edition, nil)
	if err != nil {
		return audience.Explanation{}, err
	}
	history, err := s.historyOf(ctx, user, d.scores)
	if err != nil {
		return audience.Explanation{}, fmt.Errorf("read what is known of the user: %w", err)
	}
	found := d.program.Explain(segment.ID, history, at)
	explanation := audience.Explanation{Member: found.Member, Holds: found.Holds, Pin: found.Pin, Instead: found.Instead, At: at}
	for _, clause := range found.Clauses {
		explanation.Clauses = append(explanation.Clauses, audience.ExplainedClause{Text: clause.Text, Holds: clause.Holds, Conditions: clause.Conditions})
	}
	explanation.Since, err = s.sinceWhen(ctx, user, segment.ID, at)
	return explanation, err
}

// explained is the edition that says what a segment meant at an instant.
func (s *Segmenter) explained(ctx context.Context, segment audience.Segment, at time.Time) (*audience.Edition, error) {
	edition, err := s.Edition(ctx)
	switch {
	case err != nil:
		return nil, err
	case edition.NumberOf(segment.ID) == 0 && segment.Disabled:
		return nil, fmt.Errorf("segments/%s is disabled, so nobody is in it: %w", segment.ID, audience.ErrPrecondition)
	case edition.NumberOf(segment.ID) == 0:
		return nil, unevaluated(segment.ID)
	case at.IsZero():
		return edition, nil
	}
	then, err := s.EditionAt(ctx, at)
	if err != nil || then.NumberOf(segment.ID) == 0 {
		return edition, err
	}
	return then, nil
}

// historyOf is all that is on record of a user.
func (s *Segmenter) historyOf(ctx context.Context, user audience.UserID, models []expr.Scores) (expr.History, error) {
	history := expr.History{User: user, Scores: map[audience.ModelID]audience.Score{}}
	var err error
	if history.Events, err = s.People.EventsOf(ctx, user, maxExplainedHistory); err != nil {
		return history, err
	}
	if history.Profile, err = s.People.GetProfile(ctx, user); err != nil && !errors.Is(err, audience.ErrNotFound) {
		return history, err
	}
	if history.Pins, err = s.People.Pins(ctx, user); err != nil {
		return history, err
	}
	for _, model := range models {
		if model.Kind != audience.ModelKMeans || model.Version == 0 {
			continue
		}
		switch score, err := s.People.Score(ctx, model.Number, model.Version, user); {
		case err == nil:
			history.Scores[model.Model] = score
		case !errors.Is(err, audience.ErrNotFound):
			return history, err
		}
	}
	return history, nil
}

// unevaluated is the error about a segment that is not in force yet.
func unevaluated(id audience.SegmentID) error {
	return fmt.Errorf("segments/%s was not evaluated since it was created; evaluate the segments first: %w", id, audience.ErrPrecondition)
}

// sinceWhen is the newest change, until the instant, by which the user entered or left the segment for readers: a step of the
// user, or an edition that came into force.
func (s *Segmenter) sinceWhen(ctx context.Context, user audience.UserID, segment audience.SegmentID, at time.Time) (*audience.Change, error) {
	editions, err := s.allEditions(ctx)
	if err != nil {
		return nil, err
	}
	for change, err := range s.People.ChangesOf(ctx, user) {
		if err != nil {
			return nil, fmt.Errorf("read the user's changes: %w", err)
		}
		holds := func(e *audience.Edition) bool { return slices.Contains(change.Segments, e.NumberOf(segment)) }
		for ; len(editions) > 1 && editions[len(editions)-1].Version > change.Version; editions = editions[:len(editions)-1] {
			before, after := editions[len(editions)-2], editions[len(editions)-1]
			if holds(before) != holds(after) && !after.Time.After(at) {
				return &audience.Change{Membership: audience.Membership{User: user, Version: after.Version}, Time: after.Time, Cause: after.Cause}, nil
			}
		}
		number := editions[len(editions)-1].NumberOf(segment)
		if !change.Time.After(at) && (slices.Contains(change.Entered, number) || slices.Contains(change.Left, number)) {
			return &change, nil
		}
	}
	return nil, nil
}
