package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// instants writes the column due of Program.Query: the first of the instants after the evaluation at which something changes that a condition
// reads, though nothing new is known: an event leaves a window, or is no longer dated in the future; a pin ends; a day is over; a time that
// moves along with now meets one that does not. Each is 0 when it never comes. One too early costs a look; none may be too late.
func (c *composer) instants(units []int) []column {
	d := &deadlines{composer: c}
	for _, u := range units {
		passage{c.program, d}.condition(c.program.units[u].expr.root)
	}
	instants := d.instants
	if len(c.program.units) > 0 {
		instants = append(instants, c.column(pinRows, "minIf(toUnixTimestamp64Milli(expires), toUnixTimestamp64Milli(expires) > 0)"))
	}
	instants = append(instants, c.leaving()...)
	if len(c.types) > 0 {
		instants = append(instants, c.column(eventRows, "minIf(millis, type_number = 0)"))
	}
	slices.Sort(instants)
	all := strings.Join(slices.Compact(instants), ", ")
	return append(d.columns, column{"due", fmt.Sprintf("arrayMin(arrayFilter(instant -> instant > %d, CAST([%s], 'Array(Int64)')))", c.atMillis, all)})
}

// leaving writes when the first event leaves a window. An event of a certain age leaves the shortest window that is longer.
func (c *composer) leaving() (instants []string) {
	types := map[string][]string{} // the numbers of those with the same windows
	longest := map[string]int64{}
	for i, event := range c.types {
		lengths := slices.Sorted(slices.Values(c.windows[event]))
		if len(lengths) == 0 {
			continue
		}
		slices.Reverse(lengths)
		written := fmt.Sprintf("CAST([-%s], 'Array(Int64)')", strings.Join(strings.Fields(strings.Trim(fmt.Sprint(lengths), "[]")), ", -"))
		types[written] = append(types[written], fmt.Sprint(i+1))
		longest[written] = lengths[0]
	}
	for _, lengths := range slices.Sorted(maps.Keys(types)) {
		leaves := c.each(fmt.Sprintf("millis - roundDown(millis - %d, %s)", c.atMillis+1, lengths))
		instants = append(instants, c.column(eventRows, fmt.Sprintf("minIf(%s, type_number IN (%s) AND millis > (%d))",
			leaves, strings.Join(types[lengths], ", "), c.atMillis-longest[lengths])))
	}
	return instants
}

// deadlines collects the instants at which time changes what conditions read.
type deadlines struct {
	*composer
	instants []string
	columns  []column // that instants are computed from
}

func (d *deadlines) turns(w window) {
	d.instants = append(d.instants, fmt.Sprint(w.calendar.begin(d.atMillis, 1)))
}

func (d *deadlines) nextDay(a aggregate) {
	last := d.summary(a)
	d.instants = append(d.instants, fmt.Sprintf("if(%s = 0, 0, %s - 1 + (intDiv(%d - %s, %d) + 1) * %d)", last, last, d.atMillis+1, last, dayMillis, dayMillis))
}

func (d *deadlines) reachesDay(a aggregate, day int64) {
	last := d.summary(a)
	d.instants = append(d.instants, fmt.Sprintf("if(%s = 0, 0, %s + %d)", last, last, day*dayMillis-1))
}

func (d *deadlines) ages(name string) { d.instants = append(d.instants, d.rfmChange(name)) }

func (d *deadlines) waits(s sequence) { d.instants = append(d.instants, d.waiting(s)) }

func (d *deadlines) meets(a, b value) {
	w := d.ofUser()
	meet := fmt.Sprintf("t%d", len(d.columns))
	d.columns = append(d.columns, column{meet, fmt.Sprintf("%s - (%s - %s) / (%s - %s)", float(float64(d.atMillis)), w.number(a), w.number(b), w.slope(a), w.slope(b))})
	// NaN is not greater than anything, and no whole number. A fraction is rounded down: early is harmless.
	d.instants = append(d.instants, fmt.Sprintf("toInt64(if(%[1]s > %[2]d AND %[1]s < %[3]g, greatest(%[4]s, floor(%[1]s)), 0))",
		meet, d.atMillis-1, endOfTime, float(float64(d.atMillis+1))))
}

// slope writes how many milliseconds a time or span gains in one: times and spans are only added and subtracted.
func (w writer) slope(v value) string {
	switch v := v.(type) {
	case now:
		return "1"
	case arithmetic:
		return fmt.Sprintf("(%s %c %s)", w.slope(v.left), v.op, w.slope(v.right))
	case pick:
		return fmt.Sprintf("if(%s, %s, %s)", w.condition(v.test), w.slope(v.then), w.slope(v.otherwise))
	default:
		return "0"
	}
}
