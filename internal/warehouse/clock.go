package warehouse

import (
	"sync/atomic"
	"time"
)

// clock gives the versions by which a later row outranks an earlier one: nanoseconds since 1970, never the same twice,
// never falling, even when the system's clock is set back.
type clock struct{ last atomic.Uint64 }

// startAfter makes every version larger than one that is in use already. It is for the start, before any is given.
func (c *clock) startAfter(version uint64) { c.last.Store(max(version, c.last.Load())) }

func (c *clock) next() uint64 {
	for {
		last := c.last.Load()
		version := max(uint64(time.Now().UnixNano()), last+1)
		if c.last.CompareAndSwap(last, version) {
			return version
		}
	}
}

// millis is the stored form of a time; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// orZero gives a stored 0 back as the zero time.
func orZero(t time.Time) time.Time {
	if t.UnixMilli() == 0 {
		return time.Time{}
	}
	return t.UTC()
}
