package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// The query has one shape, whatever the segments are:
//
//	events, every distinct aggregate once a user; only the types, times and columns needed
//	  FULL JOIN everybody, or the given users
//	  LEFT JOIN profiles, each needed attribute
//	  LEFT JOIN scores of each needed model
//	→ one SELECT a level: the segments that refer to no other, then those that refer to them, …
//	→ the answer: segments of each user, or the figures of a preview
//
// A user without a row in a table gets zeros and empty texts, which is what no events, no profile and no score mean here.

// statement is a query but for its time of evaluation and users.
type statement struct {
	sql    string
	params map[string]any
}

// query binds the statement; users are bound when it is restricted to some.
func (s statement) query(at time.Time, users []audience.UserID) audience.Query {
	params := maps.Clone(s.params)
	params["at"] = at.UnixMilli()
	if users != nil {
		ids := make([]string, len(users))
		for i, u := range users {
			ids[i] = string(u)
		}
		params["users"] = ids
	}
	return audience.Query{SQL: s.sql, Params: params}
}

// Query evaluates all segments at a time, to the millisecond, for the given users or, when users is nil, for everybody. Its rows are
// user_id String and segments Array(UInt32), ascending; everybody evaluated has a row, users that are not known have none.
func (p *Program) Query(at time.Time, users []audience.UserID) audience.Query {
	if users == nil {
		return p.everybody.query(at, nil)
	}
	return p.given.query(at, users)
}

// membership composes the query of the segments for everybody or for given users.
func (p *Program) membership(units []int, restricted bool) statement {
	c := newComposer(p, restricted)
	levels := c.levels(units)
	members := slices.Clone(units)
	slices.SortFunc(members, func(a, b int) int { return int(p.units[a].Number) - int(p.units[b].Number) })
	numbers := make([]string, len(members))
	for i, u := range members {
		numbers[i] = fmt.Sprintf("%s * %d", alias(u), p.units[u].Number)
	}
	segments := fmt.Sprintf("CAST(arrayFilter(n -> n > 0, [%s]), 'Array(UInt32)')", strings.Join(numbers, ", "))
	return c.statement("user_id, "+segments+" AS segments", levels)
}

// composer collects what the conditions of one query need, then writes it.
type composer struct {
	program    *Program
	restricted bool
	texts      map[string]string // parameter of each text
	params     map[string]any
	reach      map[string]int64 // longest window of each event type in milliseconds; 0 is all history
	tables     []*joined
	columns    int
}

// joined is a table to join, with the columns to take from it.
type joined struct {
	name    string // as in FROM
	columns []column
}

// column is an expression under an alias.
type column struct{ alias, sql string }

func newComposer(p *Program, restricted bool) *composer {
	return &composer{program: p, restricted: restricted, texts: map[string]string{}, params: map[string]any{}, reach: map[string]int64{}}
}

// alias is the column that says whether a user is in a segment.
func alias(unit int) string { return fmt.Sprintf("s%d", unit) }

// levels writes the conditions of the units, those of one level together.
func (c *composer) levels(units []int) [][]column {
	var levels [][]column
	for _, u := range units {
		level := c.program.units[u].level
		for len(levels) <= level {
			levels = append(levels, nil)
		}
		levels[level] = append(levels[level], column{alias(u), c.ofUser().condition(c.program.units[u].expr.root)})
	}
	return levels
}

// text binds a text and returns the parameter in its place; equal texts share one.
func (c *composer) text(s string) string {
	name, bound := c.texts[s]
	if !bound {
		name = fmt.Sprintf("p%d", len(c.params))
		c.texts[s], c.params[name] = name, s
	}
	return "{" + name + ":String}"
}

// textList binds a list of texts.
func (c *composer) textList(list []string) string {
	name := fmt.Sprintf("p%d", len(c.params))
	c.params[name] = list
	return "{" + name + ":Array(String)}"
}

// column takes an expression from a table, once, and returns its alias.
func (c *composer) column(from, sql string) string {
	at := slices.IndexFunc(c.tables, func(t *joined) bool { return t.name == from })
	if at < 0 {
		at = len(c.tables)
		c.tables = append(c.tables, &joined{name: from})
	}
	table := c.tables[at]
	for _, known := range table.columns {
		if known.sql == sql {
			return known.alias
		}
	}
	alias := fmt.Sprintf("c%d", c.columns)
	c.columns++
	table.columns = append(table.columns, column{alias, sql})
	return alias
}

// statement writes the query around the levels; answer selects from their columns.
func (c *composer) statement(answer string, levels [][]column) statement {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s\nFROM ", answer)
	for _, level := range slices.Backward(levels) {
		fmt.Fprintf(&b, "(\nSELECT *,\n  %s\nFROM ", list(level))
	}
	fmt.Fprintf(&b, "(\n%s%s\n)", c.users(), strings.Repeat("\n)", len(levels)))
	// Whoever embeds this query may have settings of its own: nothing may turn the zeros of a missing row into NULL, and the aggregates are
	// too wide to be sorted.
	b.WriteString("\nSETTINGS join_use_nulls = 0, join_algorithm = 'parallel_hash,hash'")
	return statement{b.String(), c.params}
}

// list writes columns with their aliases.
func list(columns []column) string {
	written := make([]string, len(columns))
	for i, col := range columns {
		written[i] = col.sql + " AS " + col.alias
	}
	return strings.Join(written, ",\n  ")
}
