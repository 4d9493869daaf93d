package live

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kohorta/kohorta/internal/audience"
)

// Get is the membership of one user. Its Version is the one up to which the answer is right: at least that of the user's
// own last change. The error is an *audience.UnavailableError when Redis cannot know.
func (s *Store) Get(ctx context.Context, user audience.UserID) (audience.Membership, error) {
	return s.reads.get(ctx, s, user)
}

// longestRead is after how long Redis counts as away for a read: a server that has stopped without closing its connections
// says nothing, and a caller is to hear of it well before its own deadline.
const longestRead = time.Second

// Batch is Get of several users, in their order, from one generation.
func (s *Store) Batch(ctx context.Context, users []audience.UserID) ([]audience.Membership, error) {
	reading, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	out := make([]audience.Membership, len(users))
	err := s.inGeneration(reading, func(g generation) error {
		clear(out)
		return s.read(reading, g, users, out)
	})
	if err != nil && reading.Err() != nil && ctx.Err() == nil {
		return nil, &audience.UnavailableError{What: "redis", RetryAfter: retryAfter, Err: fmt.Errorf("no answer within %s", longestRead)}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// read asks for every bucket once, its marker and all of its users in one command, and for all buckets in one round trip
// a server.
func (s *Store) read(ctx context.Context, g generation, users []audience.UserID, out []audience.Membership) error {
	type ask struct {
		fields []string
		at     []int // where in out the answers belong
		answer *redis.SliceCmd
	}
	asks := make(map[uint32]*ask, len(users))
	for i, user := range users {
		b := g.bucketOf(user)
		a := asks[b]
		if a == nil {
			a = &ask{fields: []string{marker}}
			asks[b] = a
		}
		a.fields = append(a.fields, string(user))
		a.at = append(a.at, i)
	}
	pipe := s.redis.Pipeline()
	for b, a := range asks {
		a.answer = pipe.HMGet(ctx, s.keys.bucket(g, b), a.fields...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, a := range asks {
		values := a.answer.Val()
		held, ok := values[0].(string)
		if !ok {
			return errHole
		}
		version, err := strconv.ParseUint(held, 10, 64)
		if err != nil {
			return fmt.Errorf("read the marker of a bucket: %w", err)
		}
		for i, at := range a.at {
			m := audience.Membership{User: users[at], Version: version}
			if packed, ok := values[i+1].(string); ok {
				if m.Segments, err = unpack(packed); err != nil {
					return err
				}
			}
			out[at] = m
		}
	}
	return nil
}
