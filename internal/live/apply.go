package live

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed apply.lua
var applyScript string

// advanceScript moves the applied version forward, never back, and counts the users. It answers how many there are, or
// nil when the generation is no longer in force.
const advanceScript = `
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return nil end
local held = redis.call('HGET', KEYS[1], 'version')
if #ARGV[2] > #held or (#ARGV[2] == #held and ARGV[2] > held) then redis.call('HSET', KEYS[1], 'version', ARGV[2]) end
return redis.call('HINCRBY', KEYS[1], 'users', ARGV[3])`

// pipelined bounds the commands of one round trip.
const pipelined = 1000

// missed is the piece of the log that failed to be applied; zero when there is none.
type missed struct{ first, last uint64 }

// Apply brings steps of the membership log into force, ascending by version. Repeats and older versions do no harm. Nobody
// sees half a user; readers of several users may see some before others. A version may come in several calls.
//
// An Apply that failed leaves a gap, and versions above a gap would hide it. So every later Apply is refused with an
// *audience.UnavailableError until the log is applied again from the gap on (from Version on, say), or rebuilt.
func (s *Store) Apply(ctx context.Context, changes []audience.Change) error {
	if len(changes) == 0 {
		return nil
	}
	grow, err := s.applyLocked(ctx, changes)
	if err != nil || grow == nil {
		return err
	}
	return s.grow(ctx, *grow)
}

// applyLocked is Apply but for growing: it returns the generation when that has become too small.
func (s *Store) applyLocked(ctx context.Context, changes []audience.Change) (grow *generation, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	first, last := changes[0].Version, changes[len(changes)-1].Version
	if s.missed.first != 0 && first > s.missed.first {
		s.missed.last = max(s.missed.last, last)
		return nil, &audience.UnavailableError{What: "membership projection", RetryAfter: retryAfter,
			Err: fmt.Errorf("versions from %d on must be applied before version %d", s.missed.first, first)}
	}
	if s.aside {
		s.late = append(s.late, changes...)
	}
	err = s.inGeneration(ctx, func(g generation) error {
		if err := s.sweepOnce(ctx, g); err != nil {
			return err
		}
		users, err := s.applyTo(ctx, g, changes, last)
		if err == nil && users > int64(g.buckets)*mostMean {
			grow = &g
		}
		return err
	})
	if err != nil {
		s.missed = missed{first, max(s.missed.last, last)}
		return nil, err
	}
	s.missed = missed{}
	return grow, nil
}

// applyTo writes the buckets, then the version. It answers how many users the generation holds.
func (s *Store) applyTo(ctx context.Context, g generation, changes []audience.Change, version uint64) (users int64, err error) {
	grown, err := s.applyBuckets(ctx, g, changes, version)
	if err != nil {
		return 0, err
	}
	users, err = s.redis.Eval(ctx, advanceScript, []string{s.keys.meta()}, g.id, digits(version), grown).Int64()
	if errors.Is(err, redis.Nil) {
		return 0, errHole
	}
	return users, err
}

// applyBuckets runs the script on every bucket concerned and answers by how many users they grew. The script is sent
// whole, not by its hash: a server that restarted would not know the hash.
func (s *Store) applyBuckets(ctx context.Context, g generation, changes []audience.Change, version uint64) (grown int64, err error) {
	steps := make(map[uint32][]any)
	for _, c := range changes {
		b := g.bucketOf(c.User)
		if steps[b] == nil {
			steps[b] = []any{digits(version)}
		}
		steps[b] = append(steps[b], string(c.User), pack(c.Segments))
	}
	pipe := s.redis.Pipeline()
	send := func() error {
		answers, err := pipe.Exec(ctx)
		if errors.Is(err, redis.Nil) {
			return errHole
		}
		for _, a := range answers {
			n, _ := a.(*redis.Cmd).Int64()
			grown += n
		}
		return err
	}
	for b, args := range steps {
		pipe.Eval(ctx, applyScript, []string{s.keys.bucket(g, b)}, args...)
		if pipe.Len() == pipelined {
			if err := send(); err != nil {
				return 0, err
			}
		}
	}
	return grown, send()
}

func digits(version uint64) string { return strconv.FormatUint(version, 10) }
