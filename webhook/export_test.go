package webhook

import "time"

// Hurry makes the pauses between attempts as short as tests like them.
func (s *Sender) Hurry() { s.pause = pause{first: time.Millisecond, most: 20 * time.Millisecond} }

// WaitOf is waitOf.
func WaitOf(retryAfter string) time.Duration { return waitOf(retryAfter) }

// PauseAfter is the usual pause after a number of attempts.
func PauseAfter(attempts int) time.Duration { return NewSender(SenderDeps{}).pause.after(attempts) }
