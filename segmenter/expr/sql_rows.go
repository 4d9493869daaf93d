package expr

import (
	"fmt"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Tables to join. The scores of each model are one of their own, see scoreRows.
const (
	eventRows   = "events"
	profileRows = "profiles FINAL"
	pinRows     = "pins FINAL"
)

// users writes the users with every column the conditions need. The events' columns are many: they stand on the left of their join, where rows
// pass through while the right side, here the narrow list of users, is held in memory.
func (c *composer) users() string {
	from := fmt.Sprintf("(SELECT DISTINCT user_id FROM (SELECT user_id FROM users%[1]s UNION ALL SELECT user_id FROM pins%[1]s)) AS everybody", c.whereAll())
	names := []string{"user_id"}
	for _, table := range c.tables {
		for _, column := range table.columns {
			names = append(names, column.alias)
		}
		if table.name == eventRows {
			from = fmt.Sprintf("%s\n) AS active FULL JOIN %s USING (user_id)", c.rows(table), from)
		}
	}
	for i, table := range c.tables {
		if table.name != eventRows {
			from = fmt.Sprintf("%s\nLEFT ANY JOIN %s\n) AS t%d USING (user_id)", from, c.rows(table), i)
		}
	}
	return fmt.Sprintf("SELECT %s\nFROM %s", strings.Join(names, ", "), from)
}

// rows writes the select of a table's columns, one row a user, but for its end.
func (c *composer) rows(table *joined) string {
	from := table.name + c.where(table.name)
	switch table.name {
	case eventRows:
		from = c.events() + "\nGROUP BY user_id"
	case pinRows:
		from += "\nGROUP BY user_id"
	}
	return fmt.Sprintf("(\nSELECT user_id,\n  %s\nFROM %s", list(table.columns), from)
}

// where restricts a table to what the query needs of it.
func (c *composer) where(table string) string {
	switch table {
	case eventRows:
		return c.whereAll(c.eventRange())
	case pinRows:
		return c.whereAll(c.pinsInForce())
	}
	if model, isScores := c.modelOf(table); isScores {
		return c.whereAll(fmt.Sprintf("model = %d AND version = %d", model.Number, model.Version))
	}
	return c.whereAll()
}

// whereAll writes a WHERE of conditions on rows of the users there is an answer for; "" without any.
func (c *composer) whereAll(conditions ...string) string {
	if c.only != "" {
		conditions = append(conditions, c.only)
	}
	if len(conditions) == 0 {
		return ""
	}
	return "\nWHERE " + strings.Join(conditions, " AND ")
}

// profile is a column of the user's profile.
func (c *composer) profile(sql string) string { return c.column(profileRows, sql) }

// label is a column of the user's cluster in a model; without a trained version nobody has one.
func (c *composer) label(model audience.ModelID) string {
	return c.column(scoreRows(c.program.scores[model]), "label")
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
