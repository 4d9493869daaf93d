package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
)

// Store keeps runs.
type Store interface {
	PutRun(ctx context.Context, run audience.Run) error
	GetRun(ctx context.Context, id audience.RunID) (audience.Run, error)
	// ListRuns lists runs older than before (all for ""), newest first, at most limit.
	ListRuns(ctx context.Context, filter audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error)
}

// Cancels pass the order to stop a run on to the process that works on it.
type Cancels interface {
	OrderCancel(ctx context.Context, id audience.RunID) error
	// OrderedCancels are those of the runs that were ordered to stop.
	OrderedCancels(ctx context.Context, of []audience.RunID) ([]audience.RunID, error)
}

// Deps are what a Runner works with. All but Cancels are required.
type Deps struct {
	Store   Store
	Cancels Cancels // nil: no other process shares the store
	Log     *slog.Logger
	Grace   time.Duration // how long Run lets runs under way go on once the service stops
	Holder  string        // this process
}

// Work is what a run does. It stops soon after ctx ends and then returns ctx's error. What it tells the task is kept even when
// it fails.
type Work func(ctx context.Context, task *Task) error

// persistEvery bounds how often the progress of a run is stored and shown.
const persistEvery = 500 * time.Millisecond

// The end of a run must be kept even when the store is away at that moment: storing it is repeated until it succeeds or the
// service stops, and then the next start marks the run as interrupted.
const (
	storeTimeout = 10 * time.Second // of one attempt
	storeAgain   = time.Second      // between attempts
)

// cancelsEvery is how often the orders of other processes are read while runs are under way.
const cancelsEvery = time.Second

// errCancelled and errStopped are the causes with which the context of a run ends.
var (
	errCancelled = errors.New("cancelled on request")
	errStopped   = errors.New("the service stopped before the run had ended")
)

// Runner starts runs and knows those under way. It is safe for concurrent use.
type Runner struct {
	Deps

	mu       sync.Mutex
	active   map[audience.RunID]*Task
	working  sync.WaitGroup // one for each active run
	stopping chan struct{}  // closed when no run starts any more
}

// New makes a Runner.
func New(deps Deps) *Runner {
	return &Runner{Deps: deps, active: map[audience.RunID]*Task{}, stopping: make(chan struct{})}
}

// Recover marks the unfinished runs of other processes that are not alive any more as interrupted.
func (r *Runner) Recover(ctx context.Context, alive func(ctx context.Context, holder string) (bool, error)) error {
	known := map[string]bool{r.Holder: true}
	for _, state := range []audience.RunState{audience.RunQueued, audience.RunRunning} {
		left, err := r.Store.ListRuns(ctx, audience.RunFilter{State: state}, "", 0)
		if err != nil {
			return fmt.Errorf("find interrupted runs: %w", err)
		}
		for _, run := range left {
			lives, asked := known[run.Holder]
			if !asked {
				if lives, err = alive(ctx, run.Holder); err != nil {
					return fmt.Errorf("find out whether the process of runs/%s is alive: %w", run.ID, err)
				}
				known[run.Holder] = lives
			}
			if lives {
				continue
			}
			run.State, run.Error, run.EndTime = audience.RunInterrupted, errStopped.Error(), time.Now().UTC()
			if err := r.Store.PutRun(ctx, run); err != nil {
				return fmt.Errorf("mark runs/%s as interrupted: %w", run.ID, err)
			}
			r.Log.Warn("run was interrupted", "run", run.ID, "kind", run.Kind, "subject", run.Subject)
		}
	}
	return nil
}

// Run carries out what other processes order until ctx ends. Then nothing more starts; it gives the runs under way their grace,
// stops those that go on, and returns once all have ended and are stored.
func (r *Runner) Run(ctx context.Context) error {
	r.hearCancels(ctx)
	r.mu.Lock()
	close(r.stopping)
	r.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		r.working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(r.Grace):
		r.mu.Lock()
		for _, task := range r.active {
			task.stop(errStopped)
		}
		r.mu.Unlock()
		<-ended
	}
	return nil
}

// Start is Begin for a run on request.
func (r *Runner) Start(ctx context.Context, kind audience.RunKind, subject string, work Work) (audience.Run, error) {
	return r.Begin(ctx, audience.Run{Kind: kind, Subject: subject, Occasion: audience.OccasionRequest}, work)
}

// Begin begins work and returns its run while it goes on; the end of ctx does not end it. The caller gives the run's Kind,
// Subject, Occasion, Due and Resumes. The error is an ErrConflict while a run of the same kind and subject is under way.
func (r *Runner) Begin(ctx context.Context, what audience.Run, work Work) (audience.Run, error) {
	id, err := uuid.NewV7() // in order of time
	if err != nil {
		return audience.Run{}, fmt.Errorf("make the id of a run: %w", err)
	}
	workCtx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	what.ID, what.State, what.Holder, what.CreateTime = audience.RunID(id.String()), audience.RunRunning, r.Holder, time.Now().UTC()
	task := newTask(what, stop)
	if err := r.admit(task); err != nil {
		stop(err)
		return audience.Run{}, err
	}
	run := task.snapshot()
	if err := r.Store.PutRun(ctx, run); err != nil {
		r.leave(task)
		stop(err)
		return audience.Run{}, fmt.Errorf("store the start of a run: %w", err)
	}
	r.Log.Info("run started", "run", run.ID, "kind", run.Kind, "subject", run.Subject, "occasion", run.Occasion)
	go func() {
		defer r.leave(task)
		r.do(workCtx, task, work)
	}()
	return run, nil
}

// admit adds the task to the active ones, unless there is another of its kind and subject.
func (r *Runner) admit(task *Task) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stopping:
		return &audience.UnavailableError{What: "the service, which is stopping,", RetryAfter: 5 * time.Second}
	default:
	}
	for id, other := range r.active {
		if other.run.Kind == task.run.Kind && other.run.Subject == task.run.Subject {
			return fmt.Errorf("runs/%s (%s of %s) is under way; wait for it or cancel it: %w", id, task.run.Kind, task.run.Subject, audience.ErrConflict)
		}
	}
	r.active[task.run.ID] = task
	r.working.Add(1)
	return nil
}

func (r *Runner) leave(task *Task) {
	r.mu.Lock()
	delete(r.active, task.run.ID)
	r.mu.Unlock()
	r.working.Done()
}

// do works while keep stores the progress, then stores and shows the end.
func (r *Runner) do(ctx context.Context, task *Task, work Work) {
	stored := make(chan struct{})
	working, done := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(stored)
		r.keep(working, task)
	}()
	err := r.attempt(ctx, task, work)
	done()
	<-stored

	run := task.end(outcome(ctx, err))
	r.settle(context.WithoutCancel(ctx), run)
	task.finish()
	level := slog.LevelInfo
	if run.State == audience.RunFailed {
		level = slog.LevelError
	}
	r.Log.Log(ctx, level, "run ended", "run", run.ID, "kind", run.Kind, "subject", run.Subject, "state", run.State,
		"took", run.EndTime.Sub(run.CreateTime), "error", run.Error)
}

// hearCancels stops runs that other processes order to stop, until ctx ends.
func (r *Runner) hearCancels(ctx context.Context) {
	tick := time.NewTicker(cancelsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		active := slices.Collect(maps.Keys(r.active))
		r.mu.Unlock()
		if len(active) == 0 || r.Cancels == nil {
			continue
		}
		ordered, err := r.Cancels.OrderedCancels(ctx, active)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("orders to cancel not read", "error", err)
		}
		for _, id := range ordered {
			if task := r.task(id); task != nil {
				task.stop(errCancelled)
			}
		}
	}
}

// settle stores the end of a run.
func (r *Runner) settle(ctx context.Context, run audience.Run) {
	for {
		storing, cancel := context.WithTimeout(ctx, storeTimeout)
		err := r.Store.PutRun(storing, run)
		cancel()
		if err == nil {
			return
		}
		r.Log.Error("end of a run not stored", "run", run.ID, "state", run.State, "error", err)
		select {
		case <-time.After(storeAgain):
		case <-r.stopping:
			return
		}
	}
}

// attempt works, and turns a panic into an error: one run must not take the service down.
func (r *Runner) attempt(ctx context.Context, task *Task, work Work) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("run panicked", "run", task.ID(), "panic", p, "stack", string(debug.Stack()))
			err = errors.New("a fault of the service; its log has the cause")
		}
	}()
	return work(ctx, task)
}

// outcome is the state and the error text that the result of some work means.
func outcome(ctx context.Context, err error) (audience.RunState, string) {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return audience.RunSucceeded, ""
	case errors.Is(err, ErrHeld):
		return audience.RunHeld, ""
	case errors.Is(cause, errCancelled):
		return audience.RunCancelled, ""
	case errors.Is(cause, errStopped):
		return audience.RunInterrupted, errStopped.Error()
	case errors.Is(err, audience.ErrFenced):
		return audience.RunInterrupted, err.Error()
	}
	return audience.RunFailed, err.Error()
}

// keep stores the run whenever it has changed, at most every persistEvery, until ctx ends.
func (r *Runner) keep(ctx context.Context, task *Task) {
	tick := time.NewTicker(persistEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		run, changed := task.publish()
		if !changed {
			continue
		}
		if err := r.Store.PutRun(ctx, run); err != nil && ctx.Err() == nil {
			r.Log.Warn("progress of a run not stored", "run", run.ID, "error", err)
		}
	}
}
