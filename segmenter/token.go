package segmenter

import (
	"context"
	"encoding/base64"
	"encoding/binary"

	"github.com/kohorta/kohorta/internal/audience"
)

// A freshness token names a touch: the epoch of the process it was made in, then its number, eight bytes each.

// Token names all touches made so far: a read that waits for it is not older than any write before the call.
func (s *Segmenter) Token() string {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.token(s.queue.touches)
}

func (s *Segmenter) token(touch uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(s.epoch))
	binary.BigEndian.PutUint64(b[8:], touch)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Wait returns once reads include what the token's write has changed: its users are evaluated and projected. Writes to an earlier
// process are evaluated at the start of this one. The error is an InvalidError of freshness_token when the token was not given
// out, and an ErrUnavailable when the projection stays away.
func (s *Segmenter) Wait(ctx context.Context, token string) error {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 16 {
		return audience.Invalid("freshness_token", "is not one this service gave; pass it on unchanged")
	}
	epoch, touch := int64(binary.BigEndian.Uint64(b[:8])), binary.BigEndian.Uint64(b[8:])
	s.queue.mu.Lock()
	last := s.queue.touches
	s.queue.mu.Unlock()
	if epoch > s.epoch || epoch == s.epoch && touch > last {
		return audience.Invalid("freshness_token", "is from the future; pass on one that this service gave")
	}
	select {
	case <-s.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if epoch == s.epoch {
		if err := s.queue.await(ctx, touch); err != nil {
			return err
		}
	}
	return s.projected(ctx)
}

// projected returns once the projection has all that is in the log by now.
func (s *Segmenter) projected(ctx context.Context) error {
	version, err := s.lastVersion(ctx)
	if err != nil {
		return err
	}
	return s.projector.await(ctx, version)
}

// lastVersion is the log's newest version.
func (s *Segmenter) lastVersion(ctx context.Context) (uint64, error) {
	if version := s.version.Load(); version != 0 {
		return version, nil
	}
	return s.Log.LastVersion(ctx)
}
