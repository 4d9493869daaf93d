package live

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
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

// asked is a user of a batch: its index there, and the bucket it is looked up in.
type asked struct {
	bucket uint32
	at     int
}

// read asks for every bucket once, for its marker and all its users in one command, and for all buckets in one round trip
// per server.
func (s *Store) read(ctx context.Context, g generation, users []audience.UserID, out []audience.Membership) error {
	order := make([]asked, len(users))
	for i, user := range users {
		order[i] = asked{g.bucketOf(user), i}
	}
	slices.SortFunc(order, func(a, b asked) int { return cmp.Compare(a.bucket, b.bucket) })
	pipe := s.redis.Pipeline()
	args := make([]any, 0, 4*len(users)) // of all commands: texts by pointers, which need no memory of their own
	answers := make([]*redis.StringSliceCmd, 0, len(users))
	for together := range sameBucket(order) {
		from := len(args)
		args = append(args, "hmget", s.keys.bucket(g, together[0].bucket), marker)
		for _, a := range together {
			args = append(args, (*string)(&users[a.at]))
		}
		answer := redis.NewStringSliceCmd(ctx, args[from:len(args):len(args)]...) // what is not there is ""
		answers = append(answers, answer)
		_ = pipe.Process(ctx, answer) // merely adds it
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	next := 0
	for together := range sameBucket(order) {
		values := answers[next].Val()
		next++
		if values[0] == "" {
			return errHole
		}
		version, err := strconv.ParseUint(values[0], 10, 64)
		if err != nil {
			return fmt.Errorf("read the marker of a bucket: %w", err)
		}
		for i, a := range together {
			segments, err := unpack(values[i+1])
			if err != nil {
				return err
			}
			out[a.at] = audience.Membership{User: users[a.at], Version: version, Segments: segments}
		}
	}
	return nil
}

// sameBucket yields the users of one bucket after the other.
func sameBucket(order []asked) iter.Seq[[]asked] {
	return func(yield func([]asked) bool) {
		for len(order) > 0 {
			n := 1
			for n < len(order) && order[n].bucket == order[0].bucket {
				n++
			}
			if !yield(order[:n]) {
				return
			}
			order = order[n:]
		}
	}
}
