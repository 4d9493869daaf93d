package expr

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// events writes the events as the aggregates read them. Those dated in the future have no type but 0: no aggregate counts them yet.
func (c *composer) events() string {
	numbers := make([]string, len(c.types))
	for i := range numbers {
		numbers[i] = strconv.Itoa(i + 1)
	}
	columns := append([]column{
		{"millis", "toUnixTimestamp64Milli(time)"},
		{"type_number", fmt.Sprintf("if(millis > %d, 0, transform(type, %s, [%s], 0))", c.atMillis, c.textList(c.types), strings.Join(numbers, ", "))},
	}, c.ofEach...)
	return fmt.Sprintf("(\nSELECT user_id, value_micros, %s\nFROM events%s\n)", list(columns), c.where(eventRows))
}

// eventRange holds for events of the needed types as far back as anything reads each; type and time lead key and partitions.
func (c *composer) eventRange() string {
	types := make(map[int64][]string)
	for event, after := range c.reach {
		types[after] = append(types[after], event)
	}
	var ranges []string
	for _, after := range slices.Sorted(maps.Keys(types)) {
		slices.Sort(types[after])
		events := "type IN " + c.textList(types[after])
		if after >= 0 { // events begin in 1970, and the engine's times do not go back as far as windows do
			events += fmt.Sprintf(" AND time > fromUnixTimestamp64Milli(%d, 'UTC')", after)
		}
		ranges = append(ranges, "("+events+")")
	}
	return "(" + strings.Join(ranges, " OR ") + ")"
}

// typeNumber is the number of an event type, of which it makes the query read as much as the window holds.
func (c *composer) typeNumber(event string, w window) int {
	after, _ := w.bounds(c.atMillis)
	reach, known := c.reach[event]
	if !known {
		c.types = append(c.types, event)
		reach = math.MaxInt64
	}
	c.reach[event] = min(reach, after)
	if w.lengthMillis > 0 && !slices.Contains(c.windows[event], w.lengthMillis) {
		c.windows[event] = append(c.windows[event], w.lengthMillis)
	}
	return slices.Index(c.types, event) + 1
}

// within writes that an event at hand, of a type whose events are not in the future, lies in the window.
func (c *composer) within(w window) string {
	after, until := w.bounds(c.atMillis)
	sql := ""
	if after != math.MinInt64 {
		sql += fmt.Sprintf(" AND millis > (%d)", after)
	}
	if until < c.atMillis {
		sql += fmt.Sprintf(" AND millis <= (%d)", until)
	}
	return sql
}

// matches writes that the event at hand, in the window, is one of those.
func (c *composer) matches(m eventMatch, w window) string {
	return c.ofMatch(m, w) + c.within(w)
}

// ofMatch writes that the event at hand, as far back as the window reaches and perhaps further, is one of those.
func (c *composer) ofMatch(m eventMatch, w window) string {
	sql := fmt.Sprintf("type_number = %d", c.typeNumber(m.event, w))
	if m.where != nil {
		sql += " AND " + c.each(c.ofEvent().condition(m.where))
	}
	return sql
}

// each is a column of every event.
func (c *composer) each(sql string) string {
	return once(&c.ofEach, fmt.Sprintf("e%d", len(c.ofEach)), sql)
}
