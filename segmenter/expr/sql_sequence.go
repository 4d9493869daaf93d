package expr

import (
	"fmt"
	"math"
	"strings"
)

// A sequence is found in one pass over the events that match its steps, by time. For each step it remembers the latest event that ended a
// chain of the steps so far: nothing earlier leaves more time, or less in between. What must not happen between two steps forgets the first.
//
// An event that matches step k is written as (time + 1) * codes + codes - 1 - 2k, what must not come before step k as the same with 2k - 1:
// sorted, those of one millisecond are taken from the last step to the first, so that each step is later than the one before.
const codes = 64

// sequence writes that the sequence holds.
func (c *composer) sequence(s sequence) string {
	chain, n := c.chain(s), len(s.steps)
	if s.wait == 0 {
		return fmt.Sprintf("(%s[%d] > 0)", chain, n)
	}
	return fmt.Sprintf("(%s[%d] > 0 OR %s[%d] > 0 AND %s[%d] <= (%d))", chain, n+1, chain, n, chain, n, c.atMillis+1-s.wait)
}

// waiting writes the instant at which the time is over that the sequence waits after its last step; 0 is never.
func (c *composer) waiting(s sequence) string {
	chain, n := c.chain(s), len(s.steps)
	return fmt.Sprintf("if(%s[%d] = 0 AND %s[%d] > 0, %s[%d] - 1 + %d, 0)", chain, n+1, chain, n, chain, n, s.wait)
}

// chain is a column: for each step the time of the event that ends a chain there, one millisecond on, 0 where there is none; then whether the
// wait after the last step was over before anything broke it.
func (c *composer) chain(s sequence) string {
	n := len(s.steps)
	var events []string
	match := func(m eventMatch, code int) {
		events = append(events, c.column(eventRows, fmt.Sprintf("groupArrayIf((millis + 1) * %d + %d, %s)", codes, codes-1-code, c.matches(m, s.window))))
	}
	within, slots := make([]string, n+1), make([]string, n+1)
	for i := range within {
		within[i], slots[i] = fmt.Sprint(int64(math.MaxInt64)), fmt.Sprint(i+1)
	}
	for i, step := range s.steps {
		match(step.eventMatch, 2*(i+1))
		for _, without := range step.without {
			match(without, 2*(i+1)-1)
		}
		if step.within > 0 {
			within[i] = fmt.Sprint(step.within)
		}
	}
	for _, never := range s.never {
		match(never, 2*n+1)
	}
	const code, time = "63 - event % 64", "intDiv(event, 64)"
	last := time
	if s.wait > 0 { // the first that nothing has broken is the first to be over
		last = fmt.Sprintf("if(slot = %d AND ended > 0, ended, %s)", n, time)
	}
	step := fmt.Sprintf("if(slot = 1 OR chain[greatest(slot - 1, 1)] > 0 AND %s - chain[greatest(slot - 1, 1)] <= most, %s, ended)", time, last)
	over := fmt.Sprintf("slot = %d AND %s = %d AND chain[%d] > 0 AND %s - chain[%d] >= %d, 1", n+1, code, 2*n+1, n, time, n, s.wait)
	return c.derive(fmt.Sprintf("arrayFold((chain, event) -> arrayMap((ended, slot, most) -> multiIf(%s, slot = %d, ended, %s = 2 * slot, %s, %s = 2 * slot + 1, 0, ended),\n"+
		"    chain, [%s], CAST([%s], 'Array(Int64)')), arraySort(arrayConcat(%s)), CAST([%s0], 'Array(Int64)'))",
		over, n+1, code, step, code, strings.Join(slots, ", "), strings.Join(within, ", "), strings.Join(events, ", "), strings.Repeat("0, ", n)))
}
