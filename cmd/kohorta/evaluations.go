package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/segmenter"
)

// evaluations of everybody: one is under way at a time, and who asks for another meanwhile gets that one, which then goes over
// everybody once more, by what has changed.
type evaluations struct {
	runner    *run.Runner
	segmenter *segmenter.Segmenter

	mu    sync.Mutex
	under audience.RunID // way; "": none
	again bool
}

// Between attempts to begin while a run of some users is under way or one has just ended, and for how long.
const (
	beginAgain = 20 * time.Millisecond
	beginFor   = 10 * time.Second
)

// start starts an evaluation of everybody, or answers with the one under way.
func (e *evaluations) start(ctx context.Context) (audience.Run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.under != "" {
		e.again = true
		return e.runner.Get(ctx, e.under)
	}
	for patience := time.Now().Add(beginFor); ; {
		begun, err := e.runner.Start(ctx, audience.RunEvaluate, "segments", e.work)
		if !errors.Is(err, audience.ErrConflict) || time.Now().After(patience) {
			if err == nil {
				e.under = begun.ID
			}
			return begun, err
		}
		if err := pause.For(ctx, beginAgain); err != nil {
			return audience.Run{}, err
		}
	}
}

// work evaluates everybody until nobody has asked for more.
func (e *evaluations) work(ctx context.Context, task *run.Task) error {
	total := map[string]int64{}
	for {
		e.begin()
		evaluation, err := e.segmenter.Evaluate(ctx, nil, e.segmenter.Now(), "runs/"+string(task.ID()), task.Progress)
		for name, count := range evaluation.Summary() {
			total[name] += count
		}
		task.Counts(total)
		if e.end(err) {
			for _, note := range evaluation.Notes {
				task.Note("%s", note)
			}
			return err
		}
	}
}

// begin waits for start to have said which run is under way, and takes in all that was asked for.
func (e *evaluations) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again = false
}

// end says whether the run is over.
func (e *evaluations) end(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil && e.again {
		return false
	}
	e.under = ""
	return true
}
