package expr

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Tables to join. The scores of each model are one of their own, see scoreRows.
const (
	eventRows   = "events"
	profileRows = "profiles FINAL"
)

// users writes the users with every column the conditions need. The events' columns are many: they stand on the left of their join, where rows
// pass through while the right side, here the narrow list of users, is held in memory.
func (c *composer) users() string {
	from := "(SELECT DISTINCT user_id FROM users" + c.where("users") + ") AS everybody"
	names := []string{"user_id"}
	for _, table := range c.tables {
		for _, column := range table.columns {
			names = append(names, column.alias)
		}
		if table.name == eventRows {
			from = fmt.Sprintf("%s\nGROUP BY user_id\n) AS active FULL JOIN %s USING (user_id)", c.rows(table), from)
		}
	}
	for i, table := range c.tables {
		if table.name != eventRows {
			from = fmt.Sprintf("%s\nLEFT ANY JOIN %s\n) AS t%d USING (user_id)", from, c.rows(table), i)
		}
	}
	return fmt.Sprintf("SELECT %s\nFROM %s", strings.Join(names, ", "), from)
}

// rows writes the select of a table's columns, but for its end.
func (c *composer) rows(table *joined) string {
	from := table.name + c.where(table.name)
	if table.name == eventRows {
		from = c.events()
	}
	return fmt.Sprintf("(\nSELECT user_id,\n  %s\nFROM %s", list(table.columns), from)
}

// events writes the events as the aggregates read them.
func (c *composer) events() string {
	numbers := make([]string, len(c.types))
	for i := range numbers {
		numbers[i] = strconv.Itoa(i + 1)
	}
	columns := append([]column{
		{"type_number", fmt.Sprintf("transform(type, %s, [%s], 0)", c.textList(c.types), strings.Join(numbers, ", "))},
		{"millis", "toUnixTimestamp64Milli(time)"},
	}, c.predicates...)
	return fmt.Sprintf("(\nSELECT user_id, value_micros, %s\nFROM %s%s\n)", list(columns), eventRows, c.where(eventRows))
}

// where restricts a table to what the query needs of it.
func (c *composer) where(table string) string {
	var conditions []string
	if table == eventRows {
		conditions = append(conditions, c.eventRange())
	}
	if model, isScores := c.modelOf(table); isScores {
		conditions = append(conditions, fmt.Sprintf("model = %d AND version = %d", model.Number, model.Version))
	}
	if c.restricted {
		conditions = append(conditions, "user_id IN {users:Array(String)}")
	}
	if len(conditions) == 0 {
		return ""
	}
	return "\nWHERE " + strings.Join(conditions, " AND ")
}

// eventRange holds for events of the needed types as far back as the longest window of each; type and time lead key and partitions.
func (c *composer) eventRange() string {
	types := make(map[int64][]string)
	for event, reach := range c.reach {
		types[reach] = append(types[reach], event)
	}
	var ranges []string
	for _, reach := range slices.Sorted(maps.Keys(types)) {
		slices.Sort(types[reach])
		events := "type IN " + c.textList(types[reach])
		if reach > 0 {
			// Events begin in 1970; the engine's times do not go back as far as windows do.
			events += fmt.Sprintf(" AND time > fromUnixTimestamp64Milli(%d, 'UTC')", max(c.atMillis-reach, -1))
		}
		ranges = append(ranges, "("+events+")")
	}
	return fmt.Sprintf("time <= fromUnixTimestamp64Milli(%d, 'UTC') AND (%s)", c.atMillis, strings.Join(ranges, " OR "))
}

// typeNumber is the number of an event type, whose events it makes reach back as far as the window.
func (c *composer) typeNumber(event string, w window) int {
	reach, known := c.reach[event]
	if !known {
		c.types = append(c.types, event)
	}
	if !known || w.all() || reach != 0 && w.lengthMillis > reach {
		c.reach[event] = w.lengthMillis
	}
	return slices.Index(c.types, event) + 1
}

// summary is the aggregate's column. Times are one millisecond on, so that 0 is none.
func (c *composer) summary(a aggregate) string {
	counts := fmt.Sprintf("type_number = %d", c.typeNumber(a.event, a.window))
	if !a.window.all() {
		counts += fmt.Sprintf(" AND millis > (%d)", c.atMillis-a.window.lengthMillis)
	}
	if a.where != nil {
		counts += " AND " + c.predicate(c.ofEvent().condition(a.where))
	}
	switch a.function {
	case sum:
		return c.column(eventRows, fmt.Sprintf("sumIf(value_micros, %s)", counts))
	case last, daysSince:
		return c.column(eventRows, fmt.Sprintf("maxIf(millis + 1, %s)", counts))
	case first:
		return c.column(eventRows, fmt.Sprintf("minIf(millis + 1, %s)", counts))
	default:
		return c.column(eventRows, fmt.Sprintf("countIf(%s)", counts))
	}
}

// predicate is the column of a condition of events.
func (c *composer) predicate(sql string) string {
	for _, known := range c.predicates {
		if known.sql == sql {
			return known.alias
		}
	}
	alias := fmt.Sprintf("e%d", len(c.predicates))
	c.predicates = append(c.predicates, column{alias, sql})
	return alias
}

// profile is a column of the user's profile.
func (c *composer) profile(sql string) string { return c.column(profileRows, sql) }

// score is a column of the user's score in a model; without a trained version nobody has one.
func (c *composer) score(model audience.ModelID, name string) string {
	return c.column(scoreRows(c.program.scores[model]), name)
}

// scoreRows names the scores of a model among the tables.
func scoreRows(s Scores) string { return fmt.Sprintf("scores AS scores_%d", s.Number) }

// modelOf is the model whose scores the table is.
func (c *composer) modelOf(table string) (Scores, bool) {
	for _, s := range c.program.scores {
		if table == scoreRows(s) {
			return s, true
		}
	}
	return Scores{}, false
}
