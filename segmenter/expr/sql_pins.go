package expr

import (
	"fmt"
	"slices"
	"strings"
)

// membership writes whether the user is in a segment: what pins say, else its expression, and in an exclusive group only when the user is in
// none of the segments before it.
func (c *composer) membership(target int) string {
	u := c.program.units[target]
	if u.Group == "" {
		return fmt.Sprintf("(has(%s, %d) OR %s)", c.pinnedInto(), u.Number, c.candidate(target))
	}
	numbers := make([]string, 0, len(c.program.groups[u.Group]))
	for _, id := range c.program.groups[u.Group] {
		numbers = append(numbers, fmt.Sprint(c.program.units[c.program.byID[id]].Number))
	}
	slices.Sort(numbers)
	// of several pins the newest, be it by the number of its segment
	pinned := c.column(pinRows, fmt.Sprintf("argMaxIf(segment, (version, segment), held = 1 AND segment IN (%s))", strings.Join(numbers, ", ")))
	first := c.candidate(target)
	for _, mate := range u.before {
		first += " AND NOT " + c.candidate(mate)
	}
	return fmt.Sprintf("if(%s > 0, %s = %d, %s)", pinned, pinned, u.Number, first)
}

// candidate writes that the segment's expression holds of the user and no pin keeps the user out.
func (c *composer) candidate(u int) string {
	pinnedOut := c.column(pinRows, "groupArrayIf(segment, held = -1)")
	return fmt.Sprintf("(%s AND NOT has(%s, %d))", computed(u), pinnedOut, c.program.units[u].Number)
}

func (c *composer) pinnedInto() string { return c.column(pinRows, "groupArrayIf(segment, held = 1)") }

// pinsInForce restricts pins to those of the program's segments that have neither ended nor been released.
func (c *composer) pinsInForce() string {
	numbers := make([]string, len(c.program.units))
	for i, u := range c.program.units {
		numbers[i] = fmt.Sprint(u.Number)
	}
	slices.Sort(numbers)
	return fmt.Sprintf("held != 0 AND segment IN (%s) AND (toUnixTimestamp64Milli(expires) <= 0 OR toUnixTimestamp64Milli(expires) > %d)",
		strings.Join(numbers, ", "), c.atMillis)
}
