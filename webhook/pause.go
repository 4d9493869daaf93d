package webhook

import (
	"math/rand/v2"
	"time"
)

// pause is how long to wait between attempts.
type pause struct{ first, most time.Duration }

// after is the wait after a number of failed attempts, at least 1: it doubles, up to the most, and somewhere in its second
// half, so that receivers of many are not called by all at once.
func (p pause) after(attempts int) time.Duration {
	wait := p.most
	if doublings := attempts - 1; doublings < 30 {
		wait = min(p.first<<doublings, p.most)
	}
	return wait/2 + rand.N(wait/2+1)
}
