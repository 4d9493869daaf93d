package expr

import (
	"math"
	"reflect"
	"slices"
)

// chain is a sequence in the making: the pass over the events that match its steps which sql_sequence.go describes.
type chain struct {
	events []int64 // coded: sorted, those of one millisecond are from the last step to the first
	ended  []int64 // for each step the time of the event that ends a chain there, one millisecond on; 0: none
	waited bool    // the wait after the last step was over before anything broke it
}

// sequence makes a function that says whether the sequence holds.
func (m *machine) sequence(q sequence) test {
	at, n := m.chain(q), len(q.steps)
	return func(s *state) bool {
		c := &s.chains[at]
		return c.waited || c.ended[n-1] > 0 && (q.wait == 0 || c.ended[n-1]-1+q.wait <= s.at)
	}
}

// waiting makes a function of the instant at which the time is over that the sequence waits after its last step; 0 is never.
func (m *machine) waiting(q sequence) func(*state) int64 {
	at, n := m.chain(q), len(q.steps)
	return func(s *state) int64 {
		if c := &s.chains[at]; !c.waited && c.ended[n-1] > 0 {
			return c.ended[n-1] - 1 + q.wait
		}
		return 0
	}
}

// chain is the place of a sequence's chain; equal sequences share one.
func (m *machine) chain(q sequence) int {
	if at := slices.IndexFunc(m.sequences, func(other sequence) bool { return reflect.DeepEqual(q, other) }); at >= 0 {
		return at
	}
	at := len(m.sequences)
	m.sequences = append(m.sequences, q)
	match := func(e eventMatch, code int64) {
		m.fold(e, q.window, func(s *state) {
			s.chains[at].events = append(s.chains[at].events, (s.event.Millis+1)*codes+codes-1-code)
		})
	}
	for i, step := range q.steps {
		match(step.eventMatch, 2*int64(i+1))
		for _, without := range step.without {
			match(without, 2*int64(i+1)-1)
		}
	}
	for _, never := range q.never {
		match(never, 2*int64(len(q.steps))+1)
	}
	return at
}

// find takes the events in their order.
func (c *chain) find(q *sequence) {
	c.ended, c.waited = slices.Grow(c.ended[:0], len(q.steps))[:len(q.steps)], false
	clear(c.ended)
	slices.Sort(c.events)
	for _, event := range c.events {
		step, time := (codes-1-event%codes)/2, event/codes // an odd code breaks what has come as far as the step
		if (codes-1-event%codes)%2 == 0 {
			c.reach(q, int(step)-1, time)
			continue
		}
		if ended := c.ended[step-1]; int(step) == len(q.steps) && q.wait > 0 && ended > 0 && time-ended >= q.wait {
			c.waited = true
		}
		c.ended[step-1] = 0
	}
}

// reach takes an event that matches a step.
func (c *chain) reach(q *sequence, step int, time int64) {
	within := q.steps[step].within
	if within == 0 {
		within = math.MaxInt64
	}
	if step > 0 && (c.ended[step-1] == 0 || time-c.ended[step-1] > within) {
		return
	}
	if isLast := step == len(q.steps)-1; isLast && q.wait > 0 && c.ended[step] > 0 {
		return // the first that nothing has broken is the first to be over
	}
	c.ended[step] = time
}
