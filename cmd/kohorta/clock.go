package main

import (
	"sync/atomic"
	"time"
)

// clock is the service's clock: "now" is evaluated by it. It runs as fast as the system's, from another start where the
// configuration names one.
type clock struct{ ahead atomic.Int64 } // of the system's, in nanoseconds

// set makes it now.
func (c *clock) set(now time.Time) { c.ahead.Store(int64(time.Until(now))) }

// Now is the present instant.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())).UTC() }

// at is what this clock showed when the system's showed a time.
func (c *clock) at(system time.Time) time.Time { return system.Add(time.Duration(c.ahead.Load())) }
