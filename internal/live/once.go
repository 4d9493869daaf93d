package live

import (
	"context"
	"crypto/rand"
	"time"
)

// Claim claims an id for a time, across all replicas, and reports whether it was unclaimed. The error is an
// *audience.UnavailableError when Redis cannot say.
func (s *Store) Claim(ctx context.Context, id string, within time.Duration) (first bool, err error) {
	key, mine := s.keys.once(id), rand.Text()
	first, err = s.redis.SetNX(ctx, key, mine, within).Result()
	if err != nil || first {
		return first, s.translate(ctx, err)
	}
	// The driver repeats a command whose answer was lost: the claim that stands may be this one.
	holder, err := s.redis.Get(ctx, key).Result()
	return holder == mine, s.translate(ctx, err)
}

// Release withdraws a claim: what it was made for did not happen.
func (s *Store) Release(ctx context.Context, id string) error {
	return s.translate(ctx, s.redis.Del(ctx, s.keys.once(id)).Err())
}
