package expr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// unpinned is the column of the numbers of the units, ascending, that a user is in but for the pins of those that are not read.
func (c *composer) unpinned(units []int) column {
	slices.SortFunc(units, func(a, b int) int { return cmp.Compare(c.program.units[a].Number, c.program.units[b].Number) })
	numbers := make([]string, len(units))
	for i, u := range units {
		in := computed(u)
		if c.program.units[u].read() {
			in = alias(u)
		}
		numbers[i] = fmt.Sprintf("%s * %d", in, c.program.units[u].Number)
	}
	return column{"unpinned", fmt.Sprintf("CAST(arrayFilter(n -> n > 0, [%s]), 'Array(UInt32)')", strings.Join(numbers, ", "))}
}

// segments writes the numbers with all pins applied. Few users have any.
func (c *composer) segments() string {
	if len(c.program.units) == 0 {
		return "unpinned"
	}
	alone := slices.DeleteFunc(slices.Clone(c.program.units), func(u unit) bool { return u.Group != "" }) // the pins of a group are applied
	into, out := c.pinnedUnits(alone, "held = 1"), c.pinnedOutOf()
	return fmt.Sprintf("if(empty(%s) AND empty(%s), unpinned, arraySort(arrayDistinct(arrayConcat(arrayFilter(n -> NOT has(%s, n), unpinned), %s))))",
		into, out, out, into)
}

// membership writes whether the user is in a segment: what pins say, else its expression, and in an exclusive group only when the user is in
// none of the segments before it.
func (c *composer) membership(target int) string {
	u := c.program.units[target]
	if u.Group == "" {
		return fmt.Sprintf("(has(%s, %d) OR %s)", c.pinnedInto(), u.Number, c.candidate(target))
	}
	mates := make([]unit, 0, len(c.program.groups[u.Group]))
	for _, id := range c.program.groups[u.Group] {
		mates = append(mates, c.program.units[c.program.byID[id]])
	}
	// of several pins the newest, be it by the number of its segment
	pinned := c.column(pinRows, fmt.Sprintf("argMaxIf(segment, (version, segment), held = 1 AND segment IN (%s))", pinsOf(mates)))
	first := c.candidate(target)
	for _, mate := range u.before {
		first += " AND NOT " + c.candidate(mate)
	}
	return fmt.Sprintf("if(%s > 0, %s = %d, %s)", pinned, pinned, u.Pinned, first)
}

// candidate writes that the segment's expression holds of the user and no pin keeps the user out.
func (c *composer) candidate(u int) string {
	return fmt.Sprintf("(%s AND NOT has(%s, %d))", computed(u), c.pinnedOutOf(), c.program.units[u].Number)
}

func (c *composer) pinnedInto() string  { return c.pinnedUnits(c.program.units, "held = 1") }
func (c *composer) pinnedOutOf() string { return c.pinnedUnits(c.program.units, "held = -1") }

// pinnedUnits is the column of the numbers of those of the units of which a pin says something.
func (c *composer) pinnedUnits(units []unit, held string) string {
	if len(units) == 0 {
		return "emptyArrayUInt32()"
	}
	if !slices.ContainsFunc(units, func(u unit) bool { return u.Pinned != u.Number }) {
		return c.column(pinRows, fmt.Sprintf("groupArrayIf(segment, %s AND segment IN (%s))", held, pinsOf(units)))
	}
	pairs := make([]string, len(units))
	for i, u := range units {
		pairs[i] = fmt.Sprintf("(%d, %d)", u.Pinned, u.Number)
	}
	slices.Sort(pairs)
	return c.column(pinRows, fmt.Sprintf("groupArrayArrayIf(arrayMap(pair -> pair.2, arrayFilter(pair -> pair.1 = segment, CAST([%s], 'Array(Tuple(UInt32, UInt32))'))), %s)",
		strings.Join(pairs, ", "), held))
}

// pinsInForce restricts pins to those of the program's segments that have neither ended nor been released.
func (c *composer) pinsInForce() string {
	return fmt.Sprintf("held != 0 AND segment IN (%s) AND (toUnixTimestamp64Milli(expires) <= 0 OR toUnixTimestamp64Milli(expires) > %d)",
		pinsOf(c.program.units), c.atMillis)
}

// pinsOf lists by which numbers pins know the units.
func pinsOf(units []unit) string {
	numbers := make([]string, len(units))
	for i, u := range units {
		numbers[i] = fmt.Sprint(u.Pinned)
	}
	slices.Sort(numbers)
	return strings.Join(slices.Compact(numbers), ", ")
}
