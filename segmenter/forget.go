package segmenter

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// CauseErasure is what the log names when a user leaves every segment because she was erased.
const CauseErasure = "erasure"

// Forget takes a user out of every segment, whatever expressions and pins say. What is stored of her must be deleted
// already, or the next evaluation brings her back. When it returns without error the log says that she has left, and reads do.
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
