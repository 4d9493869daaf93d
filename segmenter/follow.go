package segmenter

import (
	"context"
	"time"
)

// followEvery is how often a process that does not run its Segmenter looks for definitions that another has brought into
// force.
const followEvery = time.Second

// Follow keeps what readers see in step with the Segmenter of the process that has the database, until ctx ends. It is for a
// Segmenter that does not Run, or not yet.
func (s *Segmenter) Follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := s.readEditionsAnew(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("definitions in force not read; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
