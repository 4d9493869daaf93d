package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/lease"
)

const term = 10 * time.Second

// store keeps leases in memory.
type store struct {
	mu   sync.Mutex
	away bool
	slow time.Duration // of each call, on its way back
	last map[string]audience.LeaseState
	seen map[string]time.Time
}

func newStore() *store {
	return &store{last: map[string]audience.LeaseState{}, seen: map[string]time.Time{}}
}

func (s *store) do(f func()) error {
	s.mu.Lock()
	away := s.away
	if !away {
		f()
	}
	s.mu.Unlock()
	if away {
		return &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second}
	}
	time.Sleep(s.slow)
	return nil
}

func (s *store) look(name string) audience.LeaseState {
	state := s.last[name]
	if state.Fence > 0 {
		state.Idle = time.Since(s.seen[name])
	}
	return state
}

func (s *store) Lease(_ context.Context, name string) (state audience.LeaseState, err error) {
	return state, s.do(func() { state = s.look(name) })
}

func (s *store) ClaimLease(_ context.Context, name string, before uint64, holder string) (state audience.LeaseState, err error) {
	return state, s.do(func() {
		if s.last[name].Fence == before {
			s.last[name], s.seen[name] = audience.LeaseState{Fence: before + 1000, Holder: holder}, time.Now()
		}
		state = s.look(name)
	})
}

func (s *store) BeatLease(_ context.Context, name string, fence uint64, released bool) error {
	return s.do(func() {
		if state := s.last[name]; state.Fence == fence {
			state.Released = state.Released || released
			s.last[name], s.seen[name] = state, time.Now()
		}
	})
}

func (s *store) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func processes(s *store) (a, b *lease.Leases) {
	log := slog.New(slog.DiscardHandler)
	return lease.New(s, "a", term, log), lease.New(s, "b", term, log)
}

func TestOneHasItUntilItGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := processes(newStore())
		held, err := a.Take(t.Context(), "audience/1")
		require.NoError(t, err)
		time.Sleep(10 * term)
		require.NoError(t, held.Check(), "signs of life are given")
		_, err = b.Take(t.Context(), "audience/1")
		require.ErrorIs(t, err, audience.ErrConflict)
		require.ErrorContains(t, err, "with another replica, a")
		other, err := b.Take(t.Context(), "audience/2")
		require.NoError(t, err)
		other.Release()

		first, second := held.Version(), held.Version()
		held.Release()
		require.ErrorIs(t, held.Check(), audience.ErrFenced)
		next, err := b.Take(t.Context(), "audience/1")
		require.NoError(t, err)
		defer next.Release()
		require.Equal(t, held.Fence(), next.Succeeds())
		require.IsIncreasing(t, []uint64{held.Fence(), first, second, next.Fence(), next.Version()})
	})
}

// A holder out of reach of the store stops being certain before another can take the name.
func TestNeverTwoAreCertain(t *testing.T) {
	for name, slow := range map[string]time.Duration{"a quick store": 0, "a slow one": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore()
				s.slow = slow
				a, b := processes(s)
				held, err := a.Take(t.Context(), "writer")
				require.NoError(t, err)
				time.Sleep(2 * term)
				require.NoError(t, held.Check())
				s.setAway(true)
				cut := time.Now()
				<-held.Lost()
				require.ErrorIs(t, held.Check(), audience.ErrFenced)
				require.LessOrEqual(t, time.Since(cut), term+term/5)

				s.setAway(false)
				_, err = b.Take(t.Context(), "writer")
				require.ErrorIs(t, err, audience.ErrConflict, "not yet: by the store's clock it was heard of lately")
				var next *lease.Lease
				for next == nil {
					time.Sleep(time.Second)
					require.ErrorIs(t, held.Check(), audience.ErrFenced, "it has ended for good")
					if next, err = b.Take(t.Context(), "writer"); err != nil {
						require.ErrorIs(t, err, audience.ErrConflict)
					}
				}
				require.Less(t, time.Since(cut), 3*term)
				held.Release() // gives back nothing that is another's
				require.NoError(t, next.Check())
				next.Release()
			})
		})
	}
}

// Who was cut off and finds that nobody has taken its place goes on at once, under a new fence.
func TestTakingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, _ := processes(s)
		held, err := a.Take(t.Context(), "writer")
		require.NoError(t, err)
		s.setAway(true)
		<-held.Lost()
		_, err = a.Take(t.Context(), "writer")
		require.ErrorIs(t, err, audience.ErrUnavailable)
		s.setAway(false)
		again, err := a.Take(t.Context(), "writer")
		require.NoError(t, err)
		require.Equal(t, held.Fence(), again.Succeeds())
		again.Release()
		alive, err := a.Alive(t.Context(), "writer")
		require.NoError(t, err)
		require.False(t, alive)
	})
}

// A holder learns whether the one before has given the name back.
func TestAbandonedNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := processes(newStore())
		take := func(by *lease.Leases) *lease.Lease {
			taken, err := by.Take(t.Context(), "audience/1")
			require.NoError(t, err)
			return taken
		}
		held := take(a)
		require.False(t, held.Abandoned(), "nobody had it")
		held.Release()
		held = take(b)
		require.False(t, held.Abandoned())
		held.Abandon()
		require.ErrorIs(t, held.Check(), audience.ErrFenced)
		_, err := a.Take(t.Context(), "audience/1")
		require.ErrorIs(t, err, audience.ErrConflict, "as if it had died")
		again := take(b)
		require.True(t, again.Abandoned())
		again.Abandon()
		time.Sleep(2 * term)
		next := take(a)
		require.True(t, next.Abandoned())
		next.Release()
	})
}

func TestOfTwoAtOnceOneSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.slow = time.Second
		a, b := processes(s)
		var taking sync.WaitGroup
		var took [2]*lease.Lease
		var errs [2]error
		for i, l := range []*lease.Leases{a, b} {
			taking.Go(func() { took[i], errs[i] = l.Take(t.Context(), "audience/1") })
		}
		taking.Wait()
		require.ErrorIs(t, errors.Join(errs[:]...), audience.ErrConflict)
		for i, l := range took {
			require.Equal(t, errs[i] == nil, l != nil)
			if l != nil {
				l.Release()
			}
		}
		require.NotEqual(t, took[0] == nil, took[1] == nil)
	})
}
