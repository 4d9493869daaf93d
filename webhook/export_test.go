package webhook

import (
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
)

// Hurry makes the pauses between attempts as short as tests like them.
func (s *Sender) Hurry() {
	s.pause = pause.Doubling{First: time.Millisecond, Most: 20 * time.Millisecond}
}

// Apart is apart, with a receiver that answers statuses; given up are the changes of each request that stays refused.
func Apart(letters []audience.DeadLetter, answer func([]audience.DeadLetter) (status int)) (givenUp [][]audience.DeadLetter) {
	halvings := mostHalvings
	_ = apart(letters, &halvings, // neither of the two fails
		func(letters []audience.DeadLetter) (*refusal, error) { return refusalOf(answer(letters), ""), nil },
		func(letters []audience.DeadLetter, _ *refusal) error {
			givenUp = append(givenUp, letters)
			return nil
		})
	return givenUp
}

// WaitOf is waitOf.
func WaitOf(retryAfter string) time.Duration { return waitOf(retryAfter) }
