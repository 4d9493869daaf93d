package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// ErrHeld is what work returns when it did nothing because a person must approve first; notes say why.
var ErrHeld = errors.New("held until approved")

// Task is where work says how far it is. It is safe for concurrent use.
type Task struct {
	stop context.CancelCauseFunc

	mu      sync.Mutex
	run     audience.Run
	changed bool          // since the last publish
	shown   audience.Run  // what watchers see
	news    chan struct{} // closed when shown changes, then made anew; nil once the run has ended and is stored
}

func newTask(run audience.Run, stop context.CancelCauseFunc) *Task {
	return &Task{stop: stop, run: run, shown: run, news: make(chan struct{})}
}

// ID is the run's, for what the work writes: causes of changes, rows of the ledger.
func (t *Task) ID() audience.RunID { return t.run.ID }

// Progress says what is being done now, and how much of it: done of total units, total 0 while unknown.
func (t *Task) Progress(stage string, done, total int64) {
	t.change(func(run *audience.Run) { run.Stage, run.DoneUnits, run.TotalUnits = stage, done, total })
}

// Counts sets counters of the run; others stay.
func (t *Task) Counts(counts map[string]int64) {
	t.change(func(run *audience.Run) {
		all := make(map[string]int64, len(run.Counts)+len(counts))
		maps.Copy(all, run.Counts)
		maps.Copy(all, counts)
		run.Counts = all // a new map: snapshots keep theirs
	})
}

// Note adds a fact for people.
func (t *Task) Note(format string, args ...any) {
	t.change(func(run *audience.Run) { run.Notes = append(slices.Clip(run.Notes), fmt.Sprintf(format, args...)) })
}

func (t *Task) change(f func(*audience.Run)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.run)
	t.changed = true
}

func (t *Task) snapshot() audience.Run {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run
}

// publish shows watchers what has changed since the last time.
func (t *Task) publish() (audience.Run, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.changed {
		return t.run, false
	}
	t.changed = false
	t.shown = t.run
	close(t.news)
	t.news = make(chan struct{})
	return t.run, true
}

// end gives the run its last state. Watchers see it after finish, when it is stored.
func (t *Task) end(state audience.RunState, failure string) audience.Run {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run.State, t.run.Error, t.run.EndTime = state, failure, time.Now().UTC()
	return t.run
}

// finish shows watchers the end.
func (t *Task) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown = t.run
	close(t.news)
	t.news = nil
}

// look is what watchers see now, and a channel that is closed when there is more; nil when there will be no more.
func (t *Task) look() (audience.Run, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown, t.news
}
