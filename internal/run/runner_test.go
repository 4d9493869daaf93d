package run_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/run"
)

// shelf keeps runs in memory, and every write of them.
type shelf struct {
	mu     sync.Mutex
	runs   map[audience.RunID]audience.Run
	writes []audience.Run
	broken error
}

func newShelf(runs ...audience.Run) *shelf {
	s := &shelf{runs: map[audience.RunID]audience.Run{}}
	for _, r := range runs {
		s.runs[r.ID] = r
	}
	return s
}

func (s *shelf) PutRun(_ context.Context, r audience.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.runs[r.ID] = r
	s.writes = append(s.writes, r)
	return nil
}

func (s *shelf) GetRun(_ context.Context, id audience.RunID) (audience.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.runs[id]
	if !ok {
		return r, &audience.ResourceError{Kind: audience.ErrNotFound, Name: "runs/" + string(id)}
	}
	return r, nil
}

func (s *shelf) ListRuns(_ context.Context, f audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []audience.Run
	for _, r := range s.runs {
		if (f.State == "" || r.State == f.State) && (before == "" || r.ID < before) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b audience.Run) int { return strings.Compare(string(b.ID), string(a.ID)) })
	if limit > 0 {
		out = out[:min(limit, len(out))]
	}
	return out, nil
}

func (s *shelf) get(t *testing.T, id audience.RunID) audience.Run {
	t.Helper()
	r, err := s.GetRun(t.Context(), id)
	require.NoError(t, err)
	return r
}

// cancels are orders to stop.
type cancels struct {
	mu      sync.Mutex
	ordered []audience.RunID
}

func (c *cancels) OrderCancel(_ context.Context, id audience.RunID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ordered = append(c.ordered, id)
	return nil
}

func (c *cancels) OrderedCancels(_ context.Context, of []audience.RunID) ([]audience.RunID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(of), func(id audience.RunID) bool { return !slices.Contains(c.ordered, id) }), nil
}

func newRunner(s *shelf, holder string, orders run.Cancels) *run.Runner {
	return run.New(run.Deps{Store: s, Cancels: orders, Log: slog.New(slog.DiscardHandler), Grace: 10 * time.Second,
		Holder: holder})
}

// bubble runs f in a synctest bubble with a Runner that is stopped at its end.
func bubble(t *testing.T, s *shelf, f func(t *testing.T, r *run.Runner, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		runner := newRunner(s, "a", nil)
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() { _ = runner.Run(ctx) })
		stop := func() {
			cancel()
			serving.Wait()
		}
		defer stop()
		f(t, runner, stop)
	})
}

func TestRunEnds(t *testing.T) {
	cases := []struct {
		name   string
		work   run.Work
		cancel bool
		state  audience.RunState
		error  string
	}{
		{"done", func(context.Context, *run.Task) error { return nil }, false, audience.RunSucceeded, ""},
		{"fault", func(context.Context, *run.Task) error { return errors.New("read scores: gone") }, false, audience.RunFailed, "read scores: gone"},
		{"panic", func(context.Context, *run.Task) error { panic("ada@example.org") }, false, audience.RunFailed, "a fault of the service; its log has the cause"},
		{"held", func(_ context.Context, task *run.Task) error { task.Note("removes 40 %%"); return run.ErrHeld }, false, audience.RunHeld, ""},
		{"fenced off", func(context.Context, *run.Task) error { return fmt.Errorf("sync vip: %w", audience.ErrFenced) }, false, audience.RunInterrupted, "sync vip: fenced off"},
		{"cancelled", func(ctx context.Context, _ *run.Task) error { <-ctx.Done(); return ctx.Err() }, true, audience.RunCancelled, ""},
		{"cancelled too late", func(ctx context.Context, _ *run.Task) error { <-ctx.Done(); return nil }, true, audience.RunSucceeded, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf()
			bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
				started, err := r.Start(t.Context(), audience.RunTrain, "models/rfm", c.work)
				require.NoError(t, err)
				require.Equal(t, audience.RunRunning, started.State)
				if c.cancel {
					_, err := r.Cancel(t.Context(), started.ID)
					require.NoError(t, err)
				}
				synctest.Wait()
				ended := s.get(t, started.ID)
				require.Equal(t, c.state, ended.State)
				require.Equal(t, c.error, ended.Error)
				require.False(t, ended.EndTime.IsZero())
			})
		})
	}
}

func TestEndOfTheCallDoesNotEndTheRun(t *testing.T) {
	s := newShelf()
	bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
		call, hangUp := context.WithCancel(t.Context())
		started, err := r.Start(call, audience.RunTrain, "models/rfm", func(ctx context.Context, _ *run.Task) error {
			select {
			case <-time.After(time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		require.NoError(t, err)
		hangUp()
		time.Sleep(2 * time.Minute)
		require.Equal(t, audience.RunSucceeded, s.get(t, started.ID).State)
	})
}

func TestOneAtATime(t *testing.T) {
	bubble(t, newShelf(), func(t *testing.T, r *run.Runner, _ func()) {
		work := func(context.Context, *run.Task) error { time.Sleep(time.Second); return nil }
		first, err := r.Start(t.Context(), audience.RunTrain, "models/rfm", work)
		require.NoError(t, err)

		_, err = r.Start(t.Context(), audience.RunTrain, "models/rfm", work)
		require.ErrorIs(t, err, audience.ErrConflict)
		require.ErrorContains(t, err, string(first.ID), "the error names the run to wait for")
		_, err = r.Start(t.Context(), audience.RunTrain, "models/other", work)
		require.NoError(t, err)
		_, err = r.Start(t.Context(), audience.RunSync, "models/rfm", work)
		require.NoError(t, err)

		time.Sleep(2 * time.Second)
		_, err = r.Start(t.Context(), audience.RunTrain, "models/rfm", work)
		require.NoError(t, err)
	})
}

func TestProgressIsStoredAtMostTwiceASecond(t *testing.T) {
	s := newShelf()
	bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
		started, err := r.Start(t.Context(), audience.RunEvaluate, "segments", func(_ context.Context, task *run.Task) error {
			for i := range 10_000 {
				task.Progress("evaluating", int64(i+1), 10_000)
				task.Counts(map[string]int64{"changed": int64(i)})
				time.Sleep(time.Millisecond)
			}
			task.Counts(map[string]int64{"entered/vip": 3})
			return nil
		})
		require.NoError(t, err)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, len(s.writes), 1+20+1, "start, two a second, end")
		require.GreaterOrEqual(t, len(s.writes), 15)
		ended := s.get(t, started.ID)
		require.EqualValues(t, 10_000, ended.DoneUnits)
		require.Equal(t, map[string]int64{"changed": 9999, "entered/vip": 3}, ended.Counts)
		for i, w := range s.writes[1:] {
			require.GreaterOrEqual(t, w.DoneUnits, s.writes[i].DoneUnits)
		}
	})
}

func TestWatchers(t *testing.T) {
	s := newShelf()
	bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
		started, err := r.Start(t.Context(), audience.RunEvaluate, "segments", func(_ context.Context, task *run.Task) error {
			for i := range 20 {
				task.Progress("evaluating", int64(i+1), 20)
				time.Sleep(time.Second)
			}
			return nil
		})
		require.NoError(t, err)
		began := time.Now()

		watch := func(pause time.Duration) (seen []audience.Run) {
			for run, err := range r.Watch(t.Context(), started.ID) {
				require.NoError(t, err)
				seen = append(seen, run)
				time.Sleep(pause)
			}
			return seen
		}
		var quick, slow []audience.Run
		var watchers sync.WaitGroup
		watchers.Go(func() { quick = watch(0) })
		watchers.Go(func() { slow = watch(7 * time.Second) })
		watchers.Wait()

		ended := s.get(t, started.ID)
		require.Equal(t, ended, quick[len(quick)-1])
		require.Equal(t, ended, slow[len(slow)-1], "the slow one misses steps, not the end")
		require.GreaterOrEqual(t, len(quick), 20)
		require.Less(t, len(slow), 6)
		require.Equal(t, 20*time.Second, ended.EndTime.Sub(began), "nobody waited for the slow one")

		for run, err := range r.Watch(t.Context(), started.ID) {
			require.NoError(t, err)
			require.Equal(t, ended, run, "a run that has ended is shown once")
		}
	})
}

func TestWatchOfAnUnknownRun(t *testing.T) {
	bubble(t, newShelf(), func(t *testing.T, r *run.Runner, _ func()) {
		for _, err := range r.Watch(t.Context(), "none") {
			require.ErrorIs(t, err, audience.ErrNotFound)
		}
	})
}

func TestStopWaitsForGraceThenInterrupts(t *testing.T) {
	s := newShelf()
	bubble(t, s, func(t *testing.T, r *run.Runner, stop func()) {
		sleep := func(d time.Duration) run.Work {
			return func(ctx context.Context, _ *run.Task) error {
				select {
				case <-time.After(d):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		short, err := r.Start(t.Context(), audience.RunTrain, "models/a", sleep(5*time.Second))
		require.NoError(t, err)
		long, err := r.Start(t.Context(), audience.RunTrain, "models/b", sleep(time.Hour))
		require.NoError(t, err)
		began := time.Now()
		stop()
		require.Equal(t, 10*time.Second, time.Since(began), "the grace, not the hour")
		require.Equal(t, audience.RunSucceeded, s.get(t, short.ID).State)
		require.Equal(t, audience.RunInterrupted, s.get(t, long.ID).State)
		require.Contains(t, s.get(t, long.ID).Error, "the service stopped")

		_, err = r.Start(t.Context(), audience.RunTrain, "models/c", sleep(0))
		require.ErrorIs(t, err, audience.ErrUnavailable)
	})
}

func TestEndIsStoredOnceTheStoreIsBack(t *testing.T) {
	s := newShelf()
	bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
		started, err := r.Start(t.Context(), audience.RunTrain, "models/a", func(context.Context, *run.Task) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.broken = errors.New("clickhouse is away")
			return nil
		})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, audience.RunRunning, s.get(t, started.ID).State)
		s.mu.Lock()
		s.broken = nil
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		require.Equal(t, audience.RunSucceeded, s.get(t, started.ID).State)
	})
}

func TestStartFailsWhereTheStoreIsAway(t *testing.T) {
	s := newShelf()
	s.broken = &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second}
	bubble(t, s, func(t *testing.T, r *run.Runner, _ func()) {
		work := func(context.Context, *run.Task) error { panic("must not run") }
		_, err := r.Start(t.Context(), audience.RunTrain, "models/a", work)
		require.ErrorIs(t, err, audience.ErrUnavailable)
		_, err = r.Start(t.Context(), audience.RunTrain, "models/a", work)
		require.ErrorIs(t, err, audience.ErrUnavailable, "the failed start left nothing under way")
	})
}

func TestRecoverMarksInterruptedRuns(t *testing.T) {
	s := newShelf(
		audience.Run{ID: "1", State: audience.RunSucceeded, Holder: "dead"},
		audience.Run{ID: "2", State: audience.RunRunning, Holder: "dead"},
		audience.Run{ID: "3", State: audience.RunQueued, Holder: "dead"},
		audience.Run{ID: "4", State: audience.RunRunning, Holder: "alive"},
		audience.Run{ID: "5", State: audience.RunRunning, Holder: "mine"},
	)
	require.NoError(t, newRunner(s, "mine", nil).Recover(t.Context(), func(_ context.Context, holder string) (bool, error) {
		require.NotEqual(t, "mine", holder)
		return holder == "alive", nil
	}))
	require.Equal(t, audience.RunSucceeded, s.get(t, "1").State)
	for _, id := range []audience.RunID{"2", "3"} {
		require.Equal(t, audience.RunInterrupted, s.get(t, id).State)
		require.Contains(t, s.get(t, id).Error, "the service stopped before the run had ended")
		require.False(t, s.get(t, id).EndTime.IsZero())
	}
	for _, id := range []audience.RunID{"4", "5"} {
		require.Equal(t, audience.RunRunning, s.get(t, id).State)
	}
}

// TestCancelOfAnotherProcessRun: whichever process is asked, the one that works on the run stops it.
func TestCancelOfAnotherProcessRun(t *testing.T) {
	s, orders := newShelf(), &cancels{}
	synctest.Test(t, func(t *testing.T) {
		worker, other := newRunner(s, "a", orders), newRunner(s, "b", orders)
		ctx, stop := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() { _ = worker.Run(ctx) })
		defer serving.Wait()
		defer stop()
		started, err := worker.Start(t.Context(), audience.RunSync, "audiences/vip", func(ctx context.Context, _ *run.Task) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.NoError(t, err)
		require.Equal(t, audience.OccasionRequest, started.Occasion)
		require.Equal(t, "a", started.Holder)
		seen, err := other.Cancel(t.Context(), started.ID)
		require.NoError(t, err)
		require.Equal(t, audience.RunRunning, seen.State)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, audience.RunCancelled, s.get(t, started.ID).State)

		_, err = newRunner(newShelf(audience.Run{ID: "9", State: audience.RunRunning}), "c", nil).Cancel(t.Context(), "9")
		require.ErrorIs(t, err, audience.ErrPrecondition)
	})
}
