package segmenter

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// CauseErasure is the cause in the log when a user leaves every segment because of an erasure.
const CauseErasure = "erasure"

// Forget takes a user out of every segment, whatever expressions and pins say. What is stored about the user must be deleted
// already, or the next evaluation brings the membership back. When it returns without error, the log and reads agree that the
// user has left.
func (s *Segmenter) Forget(ctx context.Context, user audience.UserID) error {
	select {
	case <-s.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.leaveAll(ctx, user); err != nil {
		return fmt.Errorf("take an erased user out of all segments: %w", err)
	}
	return s.projected(ctx)
}

func (s *Segmenter) leaveAll(ctx context.Context, user audience.UserID) error {
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	if s.overtaken != nil {
		s.overtaken[user] = struct{}{}
	}
	w := s.writer(s.Now(), func(audience.UserID) string { return CauseErasure }, func(string, int64, int64) {})
	for x, err := range s.Log.Excerpts(ctx, []audience.UserID{user}, audience.Selection{}) {
		if err != nil {
			return err
		}
		if len(x.Recorded) > 0 {
			w.batch = append(w.batch, audience.ChangeOf(user, x.Recorded, nil))
		}
	}
	return w.commit(ctx)
}
