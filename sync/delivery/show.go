package delivery

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// longWait is from when on a wait is told: shorter ones would only flicker.
const longWait = 2 * time.Second

// teller hears that nothing is sent for some time, and why; the function it gives back is called when that is over.
type teller func(wait time.Duration, because string) (over func())

func tellNobody(time.Duration, string) func() { return func() {} }

// show says what the sync does now.
func (s *sending) show(stage string) {
	s.stage = stage
	s.progress(stage, s.done, s.total)
}

// tell shows a long wait as the stage, and the stage before once it is over.
func (s *sending) tell(wait time.Duration, because string) (over func()) {
	if wait < longWait || because == "" {
		return func() {}
	}
	until := time.Now().Add(wait).UTC().Format("15:04:05 UTC")
	s.Log.Info("sync waits", "audience", s.audience.ID, "run", s.run, "until", until, "because", because)
	s.progress(fmt.Sprintf("waiting for %s until %s: %s", cmp.Or(string(s.platform), "the platform"), until, because), s.done, s.total)
	return func() { s.progress(s.stage, s.done, s.total) }
}

// try is target.try of this sync.
func (s *sending) try(ctx context.Context, u urgency, overtake func(context.Context) error, request func() (destination.Pace, error)) error {
	return s.target.try(ctx, s.Log.With("audience", s.audience.ID, "run", s.run), s.tell, u, overtake, request)
}
