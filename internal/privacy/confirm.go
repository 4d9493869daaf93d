package privacy

import (
	"context"
	"fmt"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/run"
)

// confirm waits until every destination has confirmed that it does not hold the user. Each has its own pauses: one that is
// away delays no other.
func (e *Eraser) confirm(ctx context.Context, erasure audience.Erasure, task *run.Task) error {
	all, err := e.Platforms.Destinations(ctx)
	if err != nil {
		return err
	}
	var asking sync.WaitGroup
	waits := waiting{task: task, total: int64(len(all)), because: map[audience.DestinationID]string{}}
	for _, d := range all {
		asking.Go(func() {
			var confirmed string
			err := again(ctx, func(why string) { waits.tell(d.ID, why) }, func() (err error) {
				confirmed, err = e.Platforms.Erase(ctx, d, erasure.User, erasure.Identifiers)
				return err
			})
			if err == nil {
				task.Note("destinations/%s: %s", d.ID, confirmed)
				waits.over(d.ID)
			}
		})
	}
	asking.Wait()
	task.Counts(map[string]int64{"destinations": int64(len(all))})
	return ctx.Err()
}

// waiting shows how many destinations have confirmed, and why one has not.
type waiting struct {
	task  *run.Task
	total int64

	mu      sync.Mutex
	done    int64
	because map[audience.DestinationID]string
}

func (w *waiting) tell(id audience.DestinationID, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.because[id] = why
	w.show()
}

func (w *waiting) over(id audience.DestinationID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	delete(w.because, id)
	w.show()
}

// show is called with mu held.
func (w *waiting) show() {
	stage := "waiting for platforms"
	for id, why := range w.because {
		stage = fmt.Sprintf("waiting for destinations/%s: %s", id, why)
	}
	w.task.Progress(stage, w.done, w.total)
}
