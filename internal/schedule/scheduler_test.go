package schedule_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/schedule"
)

// world is what a scheduler works with: one job, its runs, and the log of changes of its segment. The bubble's time begins
// at midnight of 2000-01-01, UTC.
type world struct {
	mu      sync.Mutex
	job     schedule.Job
	gone    bool // the job is disabled
	runs    []audience.Run
	lasts   time.Duration // of a run
	ends    audience.RunState
	fault   error
	changes []time.Time // of version 1 and up
}

func newWorld(s audience.Schedule) *world {
	return &world{job: schedule.Job{Kind: audience.RunSync, Subject: "audiences/vip", Schedule: s, Since: time.Now(), Segment: 3},
		lasts: time.Second, ends: audience.RunSucceeded}
}

func (w *world) Jobs(context.Context) ([]schedule.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return nil, nil
	}
	return []schedule.Job{w.job}, nil
}

func (w *world) LastRuns(_ context.Context, from audience.RunID) ([]audience.LastRun, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last audience.LastRun
	for _, run := range w.runs {
		if run.ID >= from {
			if run.Due.After(last.DueDone) {
				last.DueDone = run.Due
			}
			last.Run = run
		}
	}
	if last.ID == "" {
		return nil, nil
	}
	return []audience.LastRun{last}, nil
}

func (w *world) Changes(_ context.Context, version uint64, since time.Time) (map[audience.Number]time.Time, uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[audience.Number]time.Time{}
	for _, at := range w.changes[version:] {
		if at.After(since) {
			found[3] = at
		}
	}
	return found, uint64(len(w.changes)), nil
}

func (w *world) change() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, time.Now())
}

func (w *world) Begin(_ context.Context, job schedule.Job, run audience.Run, newest audience.RunID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return w.fault
	}
	if n := len(w.runs); n > 0 && (!w.runs[n-1].State.Done() || w.runs[n-1].ID != newest) {
		return audience.ErrConflict
	}
	millis := time.Now().UnixMilli()
	run.ID = audience.RunID(fmt.Sprintf("%08x-%04x-7%03x", millis>>16, millis&0xffff, len(w.runs)))
	run.State, run.CreateTime = audience.RunRunning, time.Now()
	w.runs = append(w.runs, run)
	i := len(w.runs) - 1
	time.AfterFunc(w.lasts, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.runs[i].State = w.ends
	})
	return nil
}

// begun are the runs so far: when each began, and why.
func (w *world) begun() (runs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, run := range w.runs {
		text := run.CreateTime.UTC().Format("15:04") + " " + string(run.Occasion)
		if !run.Due.IsZero() {
			text += " " + run.Due.UTC().Format("15:04")
		}
		runs = append(runs, text)
	}
	return runs
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// start starts a service's scheduler; stop ends it.
func (w *world) start(t *testing.T, log *slog.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := schedule.New(schedule.Deps{Jobs: w.Jobs, LastRuns: w.LastRuns, Changes: w.Changes, Begin: w.Begin, Now: time.Now, Log: log})
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

var quiet = slog.New(slog.DiscardHandler)

func at(hour, minute int) time.Time { return time.Date(2000, 1, 1, hour, minute, 0, 0, time.UTC) }

func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }

func TestSchedules(t *testing.T) {
	hourly := audience.Schedule{Cron: "0 * * * *"}
	for name, c := range map[string]struct {
		schedule audience.Schedule
		story    func(t *testing.T, w *world)
		want     []string
	}{
		"each instant once": {hourly, func(_ *testing.T, w *world) {
			sleepUntil(at(3, 30))
		}, []string{"01:00 schedule 01:00", "02:00 schedule 02:00", "03:00 schedule 03:00"}},
		"a long run is overtaken by nothing, and what it held up comes once": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.lasts = 150 * time.Minute })
			sleepUntil(at(2, 0))
			w.set(func() { w.lasts = time.Second })
			sleepUntil(at(4, 30))
		}, []string{"01:00 schedule 01:00", "03:30 schedule 03:00", "04:00 schedule 04:00"}},
		"what was asked for under way holds up, too": {hourly, func(_ *testing.T, w *world) {
			sleepUntil(at(0, 50))
			w.set(func() { w.lasts = 20 * time.Minute })
			_ = w.Begin(context.Background(), w.job, audience.Run{Kind: w.job.Kind, Subject: w.job.Subject, Occasion: audience.OccasionRequest}, "")
			w.set(func() { w.lasts = time.Second })
			sleepUntil(at(1, 30))
		}, []string{"00:50 request", "01:10 schedule 01:00"}},
		"disabled": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.gone = true })
			sleepUntil(at(2, 30))
			w.set(func() { w.gone = false })
			sleepUntil(at(2, 45))
		}, []string{"02:30 schedule 02:00"}},
		"held plans wait alone": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.ends = audience.RunHeld })
			sleepUntil(at(1, 1))
			w.set(func() { w.job.Held, w.ends = true, audience.RunSucceeded })
			sleepUntil(at(4, 20))
			w.set(func() { w.job.Held = false })
			sleepUntil(at(4, 30))
		}, []string{"01:00 schedule 01:00", "04:20 schedule 04:00"}},
		"an edited schedule does not begin in the past": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.job.Schedule.Cron, w.job.Since = "30 * * * *", at(0, 45) })
			sleepUntil(at(1, 40))
		}, []string{"01:30 schedule 01:30"}},
		"one that cannot begin is tried again": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.fault = errors.New("clickhouse is away") })
			sleepUntil(at(1, 10))
			w.set(func() { w.fault = nil })
			sleepUntil(at(1, 30))
		}, []string{"01:10 schedule 01:00"}},
		"interrupted runs are gone on with": {hourly, func(_ *testing.T, w *world) {
			w.set(func() { w.ends = audience.RunInterrupted })
			sleepUntil(at(1, 0).Add(1500 * time.Millisecond)) // the first has ended, the second has not begun
			w.set(func() { w.ends = audience.RunSucceeded })
			sleepUntil(at(1, 30))
		}, []string{"01:00 schedule 01:00", "01:00 schedule 01:00"}},
		"doubts": {audience.Schedule{}, func(_ *testing.T, w *world) {
			sleepUntil(at(1, 0))
			w.set(func() { w.job.Doubtful, w.lasts = true, time.Minute })
			sleepUntil(at(1, 0).Add(30 * time.Second))
			w.set(func() { w.job.Doubtful = false })
			sleepUntil(at(2, 0))
		}, []string{"01:00 recovery"}},

		"a new audience that follows changes is loaded": {audience.Schedule{OnChange: time.Minute}, func(_ *testing.T, w *world) {
			sleepUntil(at(1, 0))
		}, []string{"00:00 change"}},
		"quiet after changes": {audience.Schedule{OnChange: 10 * time.Minute}, func(_ *testing.T, w *world) {
			sleepUntil(at(1, 0))
			for range 5 {
				w.change()
				time.Sleep(2 * time.Minute)
			}
			sleepUntil(at(3, 0))
		}, []string{"00:00 change", "01:18 change"}},
		"no quiet": {audience.Schedule{OnChange: 5 * time.Minute}, func(_ *testing.T, w *world) {
			sleepUntil(at(1, 0))
			for time.Now().Before(at(2, 30)) {
				w.change()
				time.Sleep(time.Minute)
			}
			sleepUntil(at(3, 0))
		}, []string{"00:00 change", "01:50 change", "02:34 change"}},
		"changes during a run": {audience.Schedule{OnChange: time.Minute}, func(_ *testing.T, w *world) {
			sleepUntil(at(0, 1))
			w.set(func() { w.lasts = 30 * time.Minute })
			w.change()
			sleepUntil(at(0, 10))
			w.change()
			sleepUntil(at(0, 50))
		}, []string{"00:00 change", "00:02 change", "00:32 change"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(c.schedule)
				stop := w.start(t, quiet)
				c.story(t, w)
				stop()
				require.Equal(t, c.want, w.begun())
			})
		})
	}
}

func TestAfterAStart(t *testing.T) {
	for name, c := range map[string]struct {
		schedule audience.Schedule
		down     func(w *world) // what happens from 1:30 to 5:30, while the service is down
		want     []string       // from then on, until 6:30
	}{
		"what fell due comes once": {audience.Schedule{Cron: "0 * * * *"}, func(*world) {}, []string{"05:30 schedule 05:00", "06:00 schedule 06:00"}},
		"nothing fell due":         {audience.Schedule{Cron: "0 1 * * *"}, func(*world) {}, nil},
		"members have changed": {audience.Schedule{OnChange: time.Minute}, func(w *world) {
			sleepUntil(at(3, 0))
			w.change()
		}, []string{"05:31 change"}},
		"members have not changed": {audience.Schedule{OnChange: time.Minute}, func(*world) {}, nil},
		"a run was interrupted": {audience.Schedule{Cron: "0 1 * * *"}, func(w *world) {
			w.runs[len(w.runs)-1].State = audience.RunInterrupted
		}, []string{"05:30 schedule 01:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(c.schedule)
				stop := w.start(t, quiet)
				sleepUntil(at(1, 30))
				stop()
				before := len(w.begun())
				c.down(w)
				sleepUntil(at(5, 30))
				stop = w.start(t, quiet)
				sleepUntil(at(6, 30))
				stop()
				require.Equal(t, c.want, append([]string(nil), w.begun()[before:]...))
			})
		})
	}
}

// Two services look at the same time, and begin each run once.
func TestTwoSchedulers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(audience.Schedule{Cron: "*/10 * * * *", Jitter: 5 * time.Minute, OnChange: time.Minute})
		w.lasts = time.Millisecond
		one, other := w.start(t, quiet), w.start(t, quiet)
		sleepUntil(at(0, 59))
		w.change()
		sleepUntil(at(1, 30))
		one()
		other()
		due := map[string]int{}
		for _, run := range w.begun() {
			due[run[len("00:00 "):]]++
		}
		require.Len(t, due, 1+9, "one for the change and one for each instant: %v", w.begun())
		require.LessOrEqual(t, due["change"], 3)
		for when, runs := range due {
			if when != "change" {
				require.Equal(t, 1, runs, when)
			}
		}
	})
}

func TestAStoredScheduleThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(audience.Schedule{Cron: "each full moon"})
		var log bytes.Buffer
		stop := w.start(t, slog.New(slog.NewTextHandler(&log, nil)))
		sleepUntil(at(1, 0))
		stop()
		require.Empty(t, w.begun())
		require.Equal(t, 1, strings.Count(log.String(), "schedule not kept"), "it is said once")
	})
}
