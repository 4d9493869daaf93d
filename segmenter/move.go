package segmenter

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
)

// MoveUser makes a move. When it returns without error, reads answer accordingly, and so do later reads with the token. Moves of
// a user take effect in the order in which they are stored; a repeated request does nothing twice. After an
// ErrUnavailable the move may be stored and then takes effect as soon as possible: repeat it with its request id.
func (s *Segmenter) MoveUser(ctx context.Context, move audience.Move) (token string, err error) {
	if err := move.Validate(s.Now()); err != nil {
		return "", err
	}
	select {
	case <-s.started:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	numbers, err := s.numbersOf(ctx, move)
	if err != nil {
		return "", err
	}
	if move.RequestID == "" {
		move.RequestID = uuid.NewString()
	}
	_, err = s.Log.WriteMove(ctx, move, numbers, s.Now())
	if errors.Is(err, audience.ErrConflict) {
		return "", err
	}
	// After any other error the move may be stored nevertheless: then it takes effect now, not at some later touch.
	evaluated := s.queue.hurry(move.User, "move/"+move.RequestID)
	if err != nil {
		return "", err
	}
	select {
	case err = <-evaluated.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("evaluate the moved user: %w", err)
	}
	var away *audience.UnavailableError
	if err := s.projected(ctx); errors.As(err, &away) {
		return "", &audience.UnavailableError{What: "the move is stored and takes effect by itself, but " + away.What, RetryAfter: away.RetryAfter, Err: away.Err}
	} else if err != nil {
		return "", err
	}
	return s.token(0), nil // what reads give now is what the token asks for
}

// numbersOf finds the segments a move names. They must be in force, and no two of those it leads into may share an exclusive
// group.
func (s *Segmenter) numbersOf(ctx context.Context, move audience.Move) (map[audience.SegmentID]audience.Number, error) {
	edition, err := s.Edition(ctx)
	if err != nil {
		return nil, err
	}
	var v audience.Violations
	var unevaluated []audience.SegmentID
	numbers := map[audience.SegmentID]audience.Number{}
	for _, list := range []struct {
		field string
		ids   []audience.SegmentID
	}{{"into", move.Into}, {"out_of", move.OutOf}, {"release", move.Release}} {
		groups := map[string]audience.SegmentID{}
		for i, id := range list.ids {
			field := fmt.Sprintf("%s[%d]", list.field, i)
			segment, found := edition.Find(id)
			if !found {
				unevaluated = append(unevaluated, id)
				v.Add(field, "there is no enabled segment %.80q", string(id))
				continue
			}
			numbers[id] = segment.Segment
			if other, taken := groups[segment.Group]; taken && segment.Group != "" && list.field == "into" {
				v.Add(field, "is in the exclusive group %q, as is %s; name one of them", segment.Group, other)
			}
			groups[segment.Group] = id
		}
	}
	if len(unevaluated) > 0 && len(unevaluated) == len(v) {
		if err := s.onlyUnevaluated(ctx, unevaluated); err != nil {
			return nil, err
		}
	}
	return numbers, v.Err()
}

// onlyUnevaluated is an ErrPrecondition when all the segments exist and merely were not evaluated yet.
func (s *Segmenter) onlyUnevaluated(ctx context.Context, ids []audience.SegmentID) error {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return fmt.Errorf("read segments: %w", err)
	}
	enabled := map[audience.SegmentID]bool{}
	for _, segment := range segments {
		enabled[segment.ID] = !segment.Disabled
	}
	for _, id := range ids {
		if !enabled[id] {
			return nil
		}
	}
	return unevaluated(ids[0])
}
