// Package livetest holds the contract of live.Store: every kind of Redis passes the same tests.
package livetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
)

// Redis is one running Redis, empty at first and used by one test at a time.
type Redis struct {
	Config live.Config
	Wipe   func() // loses all keys
	Lose   func() // loses one key that holds members
}

// Run runs the contract; start gives an empty Redis.
func Run(t *testing.T, start func(t *testing.T) Redis) {
	for name, test := range map[string]func(*testing.T, Redis){
		"nothing built is refused":                   testUnbuilt,
		"a built projection knows everybody":         testBuilt,
		"steps apply in order, repeats do no harm":   testApply,
		"any log, with crashes, ends at its state":   testRandomLog,
		"a gap is never hidden":                      testGap,
		"wiped is refused, rebuilt is right":         testWiped,
		"one lost bucket is a lost generation":       testLostBucket,
		"readers see one generation":                 testOneGeneration,
		"steps during a rebuild are kept":            testStepsDuringRebuild,
		"a failed rebuild changes nothing":           testFailedRebuild,
		"more users than planned make it grow":       testGrow,
		"a batch of a thousand, in the asked order":  testBatch,
		"a reader that gives up hears its own error": testCancelled,
		"what is claimed is claimed once":            testClaim,
	} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

func open(t *testing.T, r Redis) *live.Store {
	s, err := live.Open(t.Context(), r.Config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func user(i int) audience.UserID { return audience.UserID(fmt.Sprintf("user-%07d", i)) }

func step(version uint64, u audience.UserID, segments ...audience.Number) audience.Change {
	return audience.Change{Membership: audience.Membership{User: u, Segments: segments, Version: version}}
}

// Members gives a state in the form Rebuild reads.
func Members(state map[audience.UserID][]audience.Number) iter.Seq2[audience.Membership, error] {
	return func(yield func(audience.Membership, error) bool) {
		for u, segments := range state {
			if len(segments) > 0 && !yield(audience.Membership{User: u, Segments: segments}, nil) {
				return
			}
		}
	}
}

func requireState(t *testing.T, s *live.Store, state map[audience.UserID][]audience.Number) {
	t.Helper()
	for u, want := range state {
		got, err := s.Get(t.Context(), u)
		require.NoError(t, err)
		require.Equal(t, u, got.User)
		require.ElementsMatch(t, want, got.Segments)
	}
}

func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	var unavailable *audience.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Positive(t, unavailable.RetryAfter)
}

func testUnbuilt(t *testing.T, r Redis) {
	s := open(t, r)
	_, err := s.Get(t.Context(), "a")
	requireUnavailable(t, err)
	_, err = s.Batch(t.Context(), []audience.UserID{"a", "b"})
	requireUnavailable(t, err)
	_, err = s.Version(t.Context())
	requireUnavailable(t, err)
	require.ErrorIs(t, err, audience.ErrPrecondition, "time to rebuild")
	requireUnavailable(t, s.Apply(t.Context(), []audience.Change{step(1, "a", 1)}))
}

func testBuilt(t *testing.T, r Redis) {
	s := open(t, r)
	state := map[audience.UserID][]audience.Number{"a": {1}, "ü b": {2, 3, 70_000, 1<<32 - 1}, "49": {49}}
	require.NoError(t, s.Rebuild(t.Context(), 7, Members(state)))
	state["nobody"] = nil
	requireState(t, s, state)
	requireState(t, open(t, r), state)
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(7), version)
	got, err := s.Get(t.Context(), "nobody")
	require.NoError(t, err)
	require.Equal(t, audience.Membership{User: "nobody", Version: 7}, got)

	require.NoError(t, s.Rebuild(t.Context(), 9, Members(nil)), "an empty state is a state")
	requireState(t, s, map[audience.UserID][]audience.Number{"a": nil})
}

func testApply(t *testing.T, r Redis) {
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 9, Members(nil)))
	first := []audience.Change{step(10, "a", 1, 2), step(10, "b", 5), step(11, "a", 2)}
	for range 2 {
		require.NoError(t, s.Apply(t.Context(), first))
		requireState(t, s, map[audience.UserID][]audience.Number{"a": {2}, "b": {5}})
	}
	require.NoError(t, s.Apply(t.Context(), []audience.Change{step(12, "a"), step(12, "b", 5, 6)}))
	require.NoError(t, s.Apply(t.Context(), first[:2]), "an older version")
	requireState(t, s, map[audience.UserID][]audience.Number{"a": nil, "b": {5, 6}})
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(12), version)
}

// testRandomLog applies a random log in random pieces. Now and then the process is another one, which begins again
// somewhere at or below the version applied, or rebuilds.
func testRandomLog(t *testing.T, r Redis) {
	random := rand.New(rand.NewPCG(1, 2))
	const versions, users = 120, 40
	states := []map[audience.UserID][]audience.Number{{}}
	log := [][]audience.Change{nil}
	for v := uint64(1); v <= versions; v++ {
		state := map[audience.UserID][]audience.Number{}
		for u, segments := range states[v-1] {
			state[u] = segments
		}
		changed := random.Perm(users)[:1+random.IntN(5)]
		steps := make([]audience.Change, 0, len(changed))
		for _, i := range changed {
			var segments []audience.Number
			for n := audience.Number(1); n <= 300; n += 1 + audience.Number(random.IntN(200)) {
				segments = append(segments, n)
			}
			segments = segments[:random.IntN(len(segments)+1)]
			state[user(i)] = segments
			steps = append(steps, step(v, user(i), segments...))
		}
		states, log = append(states, state), append(log, steps)
	}
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 0, Members(nil)))
	for at := 0; at < versions; {
		switch random.IntN(6) {
		case 0:
			s = open(t, r)
			at -= random.IntN(at/2 + 1)
		case 1:
			require.NoError(t, s.Rebuild(t.Context(), uint64(at), Members(states[at])))
		}
		upTo := min(versions, at+1+random.IntN(6))
		require.NoError(t, s.Apply(t.Context(), slices.Concat(log[at+1:upTo+1]...)))
		at = upTo
		version, err := s.Version(t.Context())
		require.NoError(t, err)
		requireState(t, s, states[version])
	}
}

func testGap(t *testing.T, r Redis) {
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 1, Members(nil)))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Apply(cancelled, []audience.Change{step(2, "a", 1)}), context.Canceled)
	requireUnavailable(t, s.Apply(t.Context(), []audience.Change{step(3, "b", 1)}))
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), version)
	require.NoError(t, s.Apply(t.Context(), []audience.Change{step(2, "a", 1), step(3, "b", 1)}))
	require.NoError(t, s.Apply(t.Context(), []audience.Change{step(4, "c", 1)}))
	requireState(t, s, map[audience.UserID][]audience.Number{"a": {1}, "b": {1}, "c": {1}})

	require.Error(t, s.Apply(cancelled, []audience.Change{step(5, "a")}))
	require.NoError(t, s.Rebuild(t.Context(), 5, Members(map[audience.UserID][]audience.Number{"b": {1}, "c": {1}})))
	require.NoError(t, s.Apply(t.Context(), []audience.Change{step(6, "b")}), "a rebuild closes the gap")
}

func testWiped(t *testing.T, r Redis) {
	s, other := open(t, r), open(t, r)
	state := map[audience.UserID][]audience.Number{}
	for i := range 500 {
		state[user(i)] = []audience.Number{audience.Number(i + 1)}
	}
	require.NoError(t, s.Rebuild(t.Context(), 3, Members(state)))
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for i := 0; ; i = (i + 1) % 500 {
				select {
				case <-done:
					return
				default:
				}
				got, err := other.Get(t.Context(), user(i))
				if errors.Is(err, audience.ErrUnavailable) {
					continue
				}
				if err != nil || !slices.Equal(got.Segments, state[user(i)]) {
					t.Errorf("read %v, %v", got, err)
					return
				}
			}
		})
	}
	for range 5 {
		r.Wipe()
		_, err := s.Get(t.Context(), user(1))
		requireUnavailable(t, err)
		_, err = s.Version(t.Context())
		requireUnavailable(t, err)
		requireUnavailable(t, s.Apply(t.Context(), []audience.Change{step(3, user(1), 2)}))
		require.NoError(t, s.Rebuild(t.Context(), 3, Members(state)))
		requireState(t, s, state)
	}
	close(done)
	readers.Wait()
}

func testLostBucket(t *testing.T, r Redis) {
	s := open(t, r)
	state := map[audience.UserID][]audience.Number{}
	for i := range 500 {
		state[user(i)] = []audience.Number{1}
	}
	require.NoError(t, s.Rebuild(t.Context(), 3, Members(state)))
	r.Lose()
	refused := 0
	for u := range state {
		got, err := s.Get(t.Context(), u)
		if err != nil {
			requireUnavailable(t, err)
			refused++
			continue
		}
		require.Equal(t, []audience.Number{1}, got.Segments)
	}
	require.Positive(t, refused)
	_, err := s.Version(t.Context())
	requireUnavailable(t, err)
	require.ErrorIs(t, err, audience.ErrPrecondition, "time to rebuild")
}

// testOneGeneration builds states in which everybody is in one segment, another each time: a batch never sees two.
func testOneGeneration(t *testing.T, r Redis) {
	s := open(t, r)
	users := make([]audience.UserID, 0, 300)
	state := map[audience.UserID][]audience.Number{}
	build := func(n audience.Number) {
		for _, u := range users {
			state[u] = []audience.Number{n}
		}
		require.NoError(t, s.Rebuild(t.Context(), uint64(n), Members(state)))
	}
	for i := range 300 {
		users = append(users, user(i))
	}
	build(1)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		reader := open(t, r)
		readers.Go(func() {
			last := audience.Number(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := reader.Batch(t.Context(), users)
				if err != nil {
					t.Errorf("a gap: %v", err)
					return
				}
				seen := got[0].Segments[0]
				for _, m := range got {
					if m.Segments[0] != seen || seen < last {
						t.Errorf("%v among %d after %d", m, seen, last)
						return
					}
				}
				last = seen
			}
		})
	}
	for n := range audience.Number(30) {
		build(n + 2)
	}
	close(done)
	readers.Wait()
}

func testStepsDuringRebuild(t *testing.T, r Redis) {
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 1, Members(map[audience.UserID][]audience.Number{"a": {1}, "b": {1}})))
	passes := 0
	members := func(yield func(audience.Membership, error) bool) {
		if passes++; passes == 2 {
			require.NoError(t, s.Apply(t.Context(), []audience.Change{step(2, "a", 1, 2), step(2, "b"), step(2, "c", 3)}))
			requireState(t, s, map[audience.UserID][]audience.Number{"a": {1, 2}, "b": nil, "c": {3}})
		}
		_ = yield(audience.Membership{User: "a", Segments: []audience.Number{1}}, nil) &&
			yield(audience.Membership{User: "b", Segments: []audience.Number{1}}, nil)
	}
	require.NoError(t, s.Rebuild(t.Context(), 1, members))
	requireState(t, s, map[audience.UserID][]audience.Number{"a": {1, 2}, "b": nil, "c": {3}})
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(2), version)
}

func testFailedRebuild(t *testing.T, r Redis) {
	s := open(t, r)
	state := map[audience.UserID][]audience.Number{"a": {1}}
	require.NoError(t, s.Rebuild(t.Context(), 1, Members(state)))
	broken := errors.New("broken")
	passes := 0
	err := s.Rebuild(t.Context(), 2, func(yield func(audience.Membership, error) bool) {
		passes++
		if yield(audience.Membership{User: "a", Segments: []audience.Number{2}}, nil) && passes == 2 {
			yield(audience.Membership{}, broken)
		}
	})
	require.ErrorIs(t, err, broken)
	requireState(t, s, state)
	require.NoError(t, s.Apply(t.Context(), []audience.Change{step(2, "b", 3)}))
	require.NoError(t, s.Rebuild(t.Context(), 3, Members(state)))
	requireState(t, s, map[audience.UserID][]audience.Number{"a": {1}, "b": nil})
}

func testGrow(t *testing.T, r Redis) {
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 0, Members(nil)))
	const users = 10_000
	steps := make([]audience.Change, 0, users)
	state := map[audience.UserID][]audience.Number{}
	for i := range users {
		state[user(i)] = []audience.Number{audience.Number(i%50 + 1)}
		steps = append(steps, step(uint64(i+1), user(i), state[user(i)]...))
	}
	before := s.Buckets()
	for some := range slices.Chunk(steps, 1000) {
		require.NoError(t, s.Apply(t.Context(), some))
	}
	require.Greater(t, s.Buckets(), before)
	requireState(t, open(t, r), state)
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(users), version)
}

func testBatch(t *testing.T, r Redis) {
	s := open(t, r)
	state := map[audience.UserID][]audience.Number{}
	users := make([]audience.UserID, 0, 1000)
	for i := range 1000 {
		u := user(i * 7 % 500) // each user twice, half of them in no segment
		users = append(users, u)
		if i%2 == 0 {
			state[u] = []audience.Number{1, audience.Number(2 + i)}
		}
	}
	require.NoError(t, s.Rebuild(t.Context(), 1, Members(state)))
	got, err := s.Batch(t.Context(), users)
	require.NoError(t, err)
	require.Len(t, got, len(users))
	for i, u := range users {
		require.Equal(t, audience.Membership{User: u, Segments: state[u], Version: 1}, got[i])
	}
	got, err = s.Batch(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, got)
}

func testCancelled(t *testing.T, r Redis) {
	s := open(t, r)
	require.NoError(t, s.Rebuild(t.Context(), 1, Members(nil)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Batch(ctx, []audience.UserID{"a"})
	require.ErrorIs(t, err, context.Canceled)
}

func testClaim(t *testing.T, r Redis) {
	one, other := open(t, r), open(t, r)
	claim := func(s *live.Store, id string) bool {
		first, err := s.Claim(t.Context(), id, time.Hour)
		require.NoError(t, err)
		return first
	}
	require.True(t, claim(one, "a"))
	require.False(t, claim(one, "a"))
	require.False(t, claim(other, "a"), "by another process")
	require.True(t, claim(other, "b"))
	require.NoError(t, other.Release(t.Context(), "a"))
	require.True(t, claim(one, "a"))
	require.NoError(t, one.Rebuild(t.Context(), 1, Members(nil)))
	require.False(t, claim(one, "a"), "a claim is no membership")
}
