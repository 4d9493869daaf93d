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
//	events, users, profiles, scores     only the types, times, columns and model versions needed
//	  → UNION ALL                       one row of few columns each
//	  → GROUP BY user_id                every distinct aggregate once
//	  → one SELECT per level            the segments that refer to no other, then those that refer to them, …
//	  → the answer                      segments per user, or the figures of a preview

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
	carried    []carried
	aggregates []column
}

// column is an expression under an alias.
type column struct{ alias, sql string }

// carried is a column that one table brings into the union; the others give its type's default.
type carried struct {
	column
	from, zero string
}

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

// carry adds a column to the union, once.
func (c *composer) carry(from, sql, zero string) string {
	for _, known := range c.carried {
		if known.from == from && known.sql == sql {
			return known.alias
		}
	}
	name := fmt.Sprintf("c%d", len(c.carried))
	c.carried = append(c.carried, carried{column{name, sql}, from, zero})
	return name
}

// aggregate adds an aggregate over the rows of a user, once.
func (c *composer) aggregate(sql string) string {
	for _, known := range c.aggregates {
		if known.sql == sql {
			return known.alias
		}
	}
	name := fmt.Sprintf("a%d", len(c.aggregates))
	c.aggregates = append(c.aggregates, column{name, sql})
	return name
}

// statement writes the query around the levels; answer selects from their columns.
func (c *composer) statement(answer string, levels [][]column) statement {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s\nFROM ", answer)
	for _, level := range slices.Backward(levels) {
		fmt.Fprintf(&b, "(\nSELECT *, %s\nFROM ", list(level))
	}
	fmt.Fprintf(&b, "(\nSELECT %s\nFROM (\n%s\n)\nGROUP BY user_id", list(append([]column{{"user_id", "user_id"}}, c.aggregates...)), c.union())
	b.WriteString(strings.Repeat("\n)", len(levels)+1))
	return statement{b.String(), c.params}
}

// list writes columns with their aliases.
func list(columns []column) string {
	written := make([]string, len(columns))
	for i, col := range columns {
		written[i] = col.sql
		if col.sql != col.alias {
			written[i] += " AS " + col.alias
		}
	}
	return strings.Join(written, ",\n  ")
}
