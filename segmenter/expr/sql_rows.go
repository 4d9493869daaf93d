package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Tables to join. The scores of each model are one of their own, see scoreRows.
const (
	eventRows   = "events"
	profileRows = "profiles FINAL"
)

// at is the time of evaluation in milliseconds.
const at = "{at:Int64}"

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
	return fmt.Sprintf("(\nSELECT user_id,\n  %s\nFROM %s%s", list(table.columns), table.name, c.where(table.name))
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
			events += " AND " + since(reach)
		}
		ranges = append(ranges, "("+events+")")
	}
	return fmt.Sprintf("time <= fromUnixTimestamp64Milli(%s, 'UTC') AND (%s)", at, strings.Join(ranges, " OR "))
}

// since holds for events within a window. Events begin in 1970; the engine's times do not go back as far as windows do.
func since(lengthMillis int64) string {
	return fmt.Sprintf("time > fromUnixTimestamp64Milli(greatest(%s - %d, -1), 'UTC')", at, lengthMillis)
}

// extend makes events of the type reach back as far as the window.
func (c *composer) extend(event string, w window) {
	reach, known := c.reach[event]
	if !known || w.all() || reach != 0 && w.lengthMillis > reach {
		c.reach[event] = w.lengthMillis
	}
}

// summary is the aggregate's column. Times are one millisecond on, so that 0 is none.
func (c *composer) summary(a aggregate) string {
	c.extend(a.event, a.window)
	counts := "type = " + c.text(a.event)
	if !a.window.all() {
		counts += " AND " + since(a.window.lengthMillis)
	}
	if a.where != nil {
		counts += " AND " + c.ofEvent().condition(a.where)
	}
	const after = "toUnixTimestamp64Milli(time) + 1"
	switch a.function {
	case sum:
		return c.column(eventRows, fmt.Sprintf("sumIf(value_micros, %s)", counts))
	case last, daysSince:
		return c.column(eventRows, fmt.Sprintf("maxIf(%s, %s)", after, counts))
	case first:
		return c.column(eventRows, fmt.Sprintf("minIf(%s, %s)", after, counts))
	default:
		return c.column(eventRows, fmt.Sprintf("countIf(%s)", counts))
	}
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
