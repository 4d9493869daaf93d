package run

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// lookEvery is how often a run of another process is read anew while it is watched.
const lookEvery = time.Second

// Get is the run as it is now.
func (r *Runner) Get(ctx context.Context, id audience.RunID) (audience.Run, error) {
	if task := r.task(id); task != nil {
		run, _ := task.look()
		return run, nil
	}
	return r.Store.GetRun(ctx, id)
}

// List lists runs older than before (all for ""), newest first, at most limit.
func (r *Runner) List(ctx context.Context, filter audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error) {
	return r.Store.ListRuns(ctx, filter, before, limit)
}

// Cancel asks a run to stop, whatever process works on it, and answers at once, with the run as it was then. A run that has
// ended stays as it is.
func (r *Runner) Cancel(ctx context.Context, id audience.RunID) (audience.Run, error) {
	if task := r.task(id); task != nil {
		task.stop(errCancelled)
		run, _ := task.look()
		return run, nil
	}
	run, err := r.Store.GetRun(ctx, id)
	if err != nil || run.State.Done() {
		return run, err
	}
	if r.Cancels == nil {
		return run, fmt.Errorf("runs/%s is not of this process: %w", id, audience.ErrPrecondition)
	}
	return run, r.Cancels.OrderCancel(ctx, id)
}

// Watch yields the run as it is, then on each change, and ends after its last state. Whoever is slow misses steps in
// between and holds up nobody: what is yielded is always the newest.
func (r *Runner) Watch(ctx context.Context, id audience.RunID) iter.Seq2[audience.Run, error] {
	return func(yield func(audience.Run, error) bool) {
		task := r.task(id)
		if task == nil {
			r.poll(ctx, id, yield)
			return
		}
		for {
			run, news := task.look()
			if !yield(run, nil) || news == nil {
				return
			}
			select {
			case <-news:
			case <-ctx.Done():
				yield(audience.Run{}, ctx.Err())
				return
			}
		}
	}
}

// poll watches a run that is not active here: one that has ended, or that another process works on.
func (r *Runner) poll(ctx context.Context, id audience.RunID, yield func(audience.Run, error) bool) {
	for {
		run, err := r.Store.GetRun(ctx, id)
		if !yield(run, err) || err != nil || run.State.Done() {
			return
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			yield(audience.Run{}, ctx.Err())
			return
		}
	}
}

func (r *Runner) task(id audience.RunID) *Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[id]
}
