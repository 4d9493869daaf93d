package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Tables whose rows are united. A scores table stands for each model, see scoreRows.
const (
	eventRows   = "events"
	userRows    = "users"
	profileRows = "profiles FINAL"
)

// at is the time of evaluation in milliseconds.
const at = "{at:Int64}"

// union writes the rows of all tables the query needs: everybody, and what carries a column.
func (c *composer) union() string {
	sources := []string{userRows}
	for _, column := range c.carried {
		if !slices.Contains(sources, column.from) {
			sources = append(sources, column.from)
		}
	}
	selects := make([]string, len(sources))
	for i, source := range sources {
		columns := []column{{"user_id", "user_id"}}
		for _, column := range c.carried {
			if column.from != source {
				column.sql = column.zero
			}
			columns = append(columns, column.column)
		}
		selects[i] = fmt.Sprintf("SELECT %s\nFROM %s", list(columns), source)
		if where := c.where(source); where != "" {
			selects[i] += "\nWHERE " + where
		}
	}
	return strings.Join(selects, "\nUNION ALL\n")
}

// where restricts a table to what the query needs of it.
func (c *composer) where(source string) string {
	var conditions []string
	if model, isScores := c.modelOf(source); isScores {
		conditions = append(conditions, fmt.Sprintf("model = %d AND version = %d", model.Number, model.Version))
	}
	if source == eventRows {
		conditions = append(conditions, c.eventRange())
	}
	if c.restricted {
		conditions = append(conditions, "user_id IN {users:Array(String)}")
	}
	return strings.Join(conditions, " AND ")
}

// eventRange holds for events of the needed types as far back as the longest window of each; both lead the table's key.
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
			events += fmt.Sprintf(" AND time > fromUnixTimestamp64Milli(greatest(%s - %d, -1), 'UTC')", at, reach)
		}
		ranges = append(ranges, "("+events+")")
	}
	return fmt.Sprintf("time <= fromUnixTimestamp64Milli(%s, 'UTC') AND (%s)", at, strings.Join(ranges, " OR "))
}

// extend makes events of the type reach back as far as the window.
func (c *composer) extend(event string, w window) {
	reach, known := c.reach[event]
	if !known || w.all() || reach != 0 && w.lengthMillis > reach {
		c.reach[event] = w.lengthMillis
	}
}

// summary is the aggregate's column of a user. Times are one millisecond on, so that 0 is none.
func (c *composer) summary(a aggregate) string {
	c.extend(a.event, a.window)
	counts := []string{fmt.Sprintf("%s = %s", c.carry(eventRows, "type", "toLowCardinality('')"), c.text(a.event))}
	millis := c.carry(eventRows, "toUnixTimestamp64Milli(time)", "toInt64(0)")
	if !a.window.all() {
		counts = append(counts, fmt.Sprintf("%s > %s - %d", millis, at, a.window.lengthMillis))
	}
	if a.where != nil {
		counts = append(counts, c.carry(eventRows, c.ofEvent().condition(a.where), "0"))
	}
	when := strings.Join(counts, " AND ")
	switch a.function {
	case sum:
		return c.aggregate(fmt.Sprintf("sumIf(%s, %s)", c.carry(eventRows, "value_micros", "toInt64(0)"), when))
	case last, daysSince:
		return c.aggregate(fmt.Sprintf("maxIf(%s + 1, %s)", millis, when))
	case first:
		return c.aggregate(fmt.Sprintf("minIf(%s + 1, %s)", millis, when))
	default:
		return c.aggregate(fmt.Sprintf("countIf(%s)", when))
	}
}

// profile is a column of the user's profile, the default of its type without a profile.
func (c *composer) profile(sql, zero string) string {
	is := c.carry(profileRows, "1", "0")
	return c.aggregate(fmt.Sprintf("anyIf(%s, %s)", c.carry(profileRows, sql, zero), is))
}

// score is a column of the user's score, the default of its type without one.
func (c *composer) score(model audience.ModelID, sql, zero string) string {
	scores := c.program.scores[model]
	if scores.Version == 0 {
		return zero
	}
	from := scoreRows(scores)
	is := c.carry(from, "1", "0")
	return c.aggregate(fmt.Sprintf("anyIf(%s, %s)", c.carry(from, sql, zero), is))
}

// scoreRows names the scores of a model among the sources.
func scoreRows(s Scores) string { return fmt.Sprintf("scores AS scores_%d", s.Number) }

// modelOf is the model whose scores the source is.
func (c *composer) modelOf(source string) (Scores, bool) {
	for _, s := range c.program.scores {
		if source == scoreRows(s) {
			return s, true
		}
	}
	return Scores{}, false
}
