package segmenter

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// CauseErasure is what the log names when a user leaves every segment because she was erased.
const CauseErasure = "erasure"

// nothing is an evaluation by which one user is in no segment: expressions, such as an absence, may hold for a user of whom
// nothing is known.
const nothing = "SELECT {user:String} AS user_id, emptyArrayUInt32() AS segments, toInt64(0) AS due"

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
	w := s.writer(s.inForce.Load(), s.Now(), func(audience.UserID) string { return CauseErasure }, func(string, int64, int64) {})
	for e, err := range s.Log.Evaluated(ctx, audience.Query{SQL: nothing, Params: map[string]any{"user": string(user)}}) {
		if err != nil {
			return err
		}
		if len(e.Left) > 0 {
			w.batch = append(w.batch, e.Change)
		}
	}
	return w.commit(ctx)
}
