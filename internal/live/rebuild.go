package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kohorta/kohorta/internal/audience"
)

// Users per bucket. A generation is built with a mean of meanUsers and built again when the mean exceeds mostMean: then one
// bucket in 1,000 has more than mostUsers, Redis' default limit of the flat encoding (hash-max-listpack-entries).
const (
	meanUsers  = 64
	mostMean   = 96
	mostUsers  = 128
	minBuckets = 64
)

// Rebuild replaces everything by members, the state of the log at version or later, each user once. It ranges over members
// twice, first to count. The new generation is written beside the old one, which readers see until the new one comes into
// force in one step. Changes applied meanwhile are in both. When Rebuild returns, the old generation is gone, so that no
// reader can still hold it when the next change is applied.
func (s *Store) Rebuild(ctx context.Context, version uint64, members iter.Seq2[audience.Membership, error]) error {
	var users int64
	for _, err := range members {
		if err != nil {
			return fmt.Errorf("count members: %w", err)
		}
		users++
	}
	return s.build(ctx, version, users, members)
}

// grow builds the generation again with more buckets, from itself.
func (s *Store) grow(ctx context.Context, g generation) error {
	version, err := s.Version(ctx)
	if err != nil {
		return err
	}
	users, err := s.redis.HGet(ctx, s.keys.meta(), metaUsers).Int64()
	if err != nil {
		return s.translate(ctx, err)
	}
	s.log.Info("membership projection grows", "users", users, "buckets", g.buckets)
	return s.build(ctx, version, users, s.dump(ctx, g))
}

// build is Rebuild with the number of users, which may be approximate.
func (s *Store) build(ctx context.Context, version uint64, users int64, members iter.Seq2[audience.Membership, error]) error {
	s.rebuild.Lock()
	defer s.rebuild.Unlock()
	id, err := s.nextGeneration(ctx)
	if err != nil {
		return err
	}
	g := generation{id: id, buckets: uint32(max(minBuckets, (users+meanUsers-1)/meanUsers))}
	if err := s.setAside(ctx); err != nil {
		return err
	}
	defer s.endAside()
	written, err := s.fill(ctx, g, version, members)
	if err != nil {
		return err
	}
	if written == 0 && users > 0 {
		return errors.New("rebuild: the members could not be read a second time")
	}
	return s.switchTo(ctx, g, version, written)
}

// nextGeneration is an id that no bucket in Redis can have, even after the meta key was lost: the time, and always above the
// last.
func (s *Store) nextGeneration(ctx context.Context) (string, error) {
	held, err := s.redis.HGet(ctx, s.keys.meta(), metaGeneration).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", s.translate(ctx, err)
	}
	last, _ := strconv.ParseInt(held, 36, 64)
	return strconv.FormatInt(max(last+1, time.Now().UnixMilli()), 36), nil
}

// setAside deletes what crashed builds left, and begins to collect the changes applied from now on.
func (s *Store) setAside(ctx context.Context) error {
	s.write.Lock()
	defer s.write.Unlock()
	g, err := s.load(ctx)
	if err != nil && !errors.Is(err, audience.ErrUnavailable) {
		return err
	}
	if err := s.sweep(ctx, g); err != nil {
		return err
	}
	s.swept, s.aside = true, true
	return nil
}

func (s *Store) endAside() {
	s.write.Lock()
	defer s.write.Unlock()
	s.aside, s.late = false, nil
}

// fill writes all markers, then all members, and counts these.
func (s *Store) fill(ctx context.Context, g generation, version uint64, members iter.Seq2[audience.Membership, error]) (users int64, err error) {
	pipe := s.redis.Pipeline()
	set := func(bucket uint32, field string, value any) error {
		pipe.HSet(ctx, s.keys.bucket(g, bucket), field, value)
		if pipe.Len() < pipelined {
			return nil
		}
		_, err := pipe.Exec(ctx)
		return err
	}
	for b := range g.buckets {
		if err := set(b, marker, digits(version)); err != nil {
			return 0, s.translate(ctx, err)
		}
	}
	for m, err := range members {
		if err != nil {
			return 0, fmt.Errorf("read members: %w", err)
		}
		if len(m.Segments) == 0 {
			continue
		}
		if err := set(g.bucketOf(m.User), string(m.User), pack(m.Segments)); err != nil {
			return 0, s.translate(ctx, err)
		}
		users++
	}
	_, err = pipe.Exec(ctx)
	return users, s.translate(ctx, err)
}

// switchTo brings a filled generation into force, with the changes applied while it was filled.
func (s *Store) switchTo(ctx context.Context, g generation, version uint64, users int64) error {
	s.write.Lock()
	defer s.write.Unlock()
	if n := len(s.late); n > 0 {
		version = max(version, s.late[n-1].Version)
		grown, err := s.applyBuckets(ctx, g, s.late, version)
		if err != nil {
			return s.translate(ctx, err)
		}
		users += grown
	}
	servers, err := s.servers(ctx)
	if err != nil {
		return err
	}
	err = s.redis.HSet(ctx, s.keys.meta(), metaGeneration, g.id, metaBuckets, g.buckets, metaVersion, digits(version),
		metaUsers, users, metaServers, servers).Err()
	if err != nil {
		return s.translate(ctx, err)
	}
	s.inForce.Store(&sighting{g, time.Now()})
	if s.missed.first = max(s.missed.first, version+1); s.missed.first > s.missed.last {
		s.missed = missed{}
	}
	return s.sweep(ctx, g)
}

// sweepOnce removes what a crash in Rebuild may have left, before the first change that a process applies.
func (s *Store) sweepOnce(ctx context.Context, g generation) error {
	if s.swept {
		return nil
	}
	if err := s.sweep(ctx, g); err != nil {
		return err
	}
	s.swept = true
	return nil
}

// sweep removes the buckets of all other generations.
func (s *Store) sweep(ctx context.Context, keep generation) error {
	sweepNode := func(ctx context.Context, node *redis.Client) error {
		pipe := node.Pipeline()
		keys := node.Scan(ctx, 0, s.keys.members()+"*", pipelined).Iterator()
		for keys.Next(ctx) {
			if !strings.HasPrefix(keys.Val(), s.keys.generation(keep)) {
				pipe.Unlink(ctx, keys.Val())
			}
			if pipe.Len() == pipelined {
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
		}
		if err := keys.Err(); err != nil {
			return err
		}
		_, err := pipe.Exec(ctx)
		return err
	}
	switch client := s.redis.(type) {
	case *redis.ClusterClient:
		return s.translate(ctx, client.ForEachMaster(ctx, sweepNode))
	case *redis.Client:
		return s.translate(ctx, sweepNode(ctx, client))
	}
	panic("live: a client of another kind")
}

// dump reads a whole generation.
func (s *Store) dump(ctx context.Context, g generation) iter.Seq2[audience.Membership, error] {
	const together = 100 // buckets a round trip: some 150 kB
	return func(yield func(audience.Membership, error) bool) {
		for from := uint32(0); from < g.buckets; from += together {
			pipe := s.redis.Pipeline()
			var buckets []*redis.MapStringStringCmd
			for b := from; b < min(from+together, g.buckets); b++ {
				buckets = append(buckets, pipe.HGetAll(ctx, s.keys.bucket(g, b)))
			}
			if _, err := pipe.Exec(ctx); err != nil {
				yield(audience.Membership{}, s.translate(ctx, err))
				return
			}
			for _, b := range buckets {
				if !yieldBucket(b.Val(), yield) {
					return
				}
			}
		}
	}
}

// yieldBucket yields the users of one bucket and reports whether to go on.
func yieldBucket(fields map[string]string, yield func(audience.Membership, error) bool) bool {
	if _, there := fields[marker]; !there {
		yield(audience.Membership{}, &audience.UnavailableError{What: "redis", RetryAfter: retryAfter, Err: errHole})
		return false
	}
	delete(fields, marker)
	for user, packed := range fields {
		segments, err := unpack(packed)
		if !yield(audience.Membership{User: audience.UserID(user), Segments: segments}, err) || err != nil {
			return false
		}
	}
	return true
}
