package expr

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// The query has one shape, whatever the segments are:
//
//	events, every distinct aggregate once a user; only the types, times and columns needed
//	  FULL JOIN everybody
//	  LEFT JOIN profiles, each needed attribute
//	  LEFT JOIN scores of each needed model
//	  LEFT JOIN pins
//	→ what is derived from these: RFM scores, sequences
//	→ one SELECT a level: the segments that refer to no other, then those that refer to them, …
//	→ the next instants at which time changes an answer
//	→ the answer: segments of each user, or the figures of a preview
//
// A user without a row in a table gets zeros and empty texts, which is what no events, no profile and no score mean here.

// Query evaluates all segments at a time, to the millisecond, for everybody. Its rows are
//
//	user_id  String
//	segments Array(UInt32)  ascending
//	due      Int64          the next instant, in milliseconds since 1970, at which time alone may change the segments; 0 is never
//
// Until due the segments stay what they are unless something new is known. What it says of a user an Evaluator says, too.
func (p *Program) Query(at time.Time) audience.Query {
	c := newComposer(p, at)
	units := make([]int, len(p.units))
	for i := range units {
		units[i] = i
	}
	levels := append(c.levels(units), append(c.instants(units), c.unpinned(units)))
	return c.query("user_id, "+c.segments()+" AS segments, due", levels)
}

// composer collects what the conditions of one query need, then writes it. Texts become parameters; numbers and times are written out: ClickHouse
// folds every constant expression anew wherever it stands, which for hundreds of segments takes longer than to evaluate a user.
type composer struct {
	program  *Program
	atMillis int64
	only     string // what must hold of user_id; "": everybody
	params   map[string]any
	texts    map[string]string // parameter of each text

	types   []string           // of events, in the order of their numbers, from 1
	reach   map[string]int64   // the instant after which each of them is read, in milliseconds
	windows map[string][]int64 // lengths of the windows of each of them, in milliseconds
	ofEach  []column           // of events
	tables  []*joined
	columns int
	derived []column // of users, from the columns of the tables
}

// joined is a table to join, with the columns to take from it.
type joined struct {
	name    string // as in FROM
	columns []column
}

// column is an expression under an alias.
type column struct{ alias, sql string }

func newComposer(p *Program, at time.Time) *composer {
	return &composer{
		program: p, atMillis: at.UnixMilli(), params: map[string]any{}, texts: map[string]string{}, reach: map[string]int64{}, windows: map[string][]int64{},
	}
}

// computed is the column that says whether a segment's expression holds of a user, alias the one that says whether the user is in it.
func alias(unit int) string    { return fmt.Sprintf("s%d", unit) }
func computed(unit int) string { return fmt.Sprintf("x%d", unit) }

// levels writes the conditions of the units, those of one level together.
func (c *composer) levels(units []int) [][]column {
	var levels [][]column
	for _, u := range units {
		level := c.program.units[u].level
		for len(levels) <= level {
			levels = append(levels, nil)
		}
		levels[level] = append(levels[level], column{computed(u), c.ofUser().condition(c.program.units[u].expr.root)})
		if c.program.units[u].read() {
			levels[level] = append(levels[level], column{alias(u), c.membership(u)})
		}
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
	columns := &c.tables[at].columns
	before := len(*columns)
	alias := once(columns, fmt.Sprintf("c%d", c.columns), sql)
	c.columns += len(*columns) - before
	return alias
}

// derive is a column computed from the columns of the tables.
func (c *composer) derive(sql string) string {
	return once(&c.derived, fmt.Sprintf("d%d", len(c.derived)), sql)
}

// once appends a column unless there is one of the same SQL, and returns its alias.
func once(columns *[]column, alias, sql string) string {
	for _, known := range *columns {
		if known.sql == sql {
			return known.alias
		}
	}
	*columns = append(*columns, column{alias, sql})
	return alias
}

// query writes the query around the levels; answer selects from their columns.
func (c *composer) query(answer string, levels [][]column) audience.Query {
	var b strings.Builder
	if len(c.derived) > 0 {
		levels = append([][]column{c.derived}, levels...)
	}
	fmt.Fprintf(&b, "SELECT %s\nFROM ", answer)
	for _, level := range slices.Backward(levels) {
		fmt.Fprintf(&b, "(\nSELECT *,\n  %s\nFROM ", list(level))
	}
	fmt.Fprintf(&b, "(\n%s%s\n)", c.users(), strings.Repeat("\n)", len(levels)))
	// Whoever embeds this query may have settings of its own: nothing may turn the zeros of a missing row into NULL, the aggregates are too
	// wide to be sorted, and to look for contradictions between so many comparisons takes as long as all other planning.
	b.WriteString("\nSETTINGS join_use_nulls = 0, join_algorithm = 'parallel_hash,hash', optimize_and_compare_chain = 0")
	return audience.Query{SQL: b.String(), Params: c.params}
}

// list writes columns with their aliases.
func list(columns []column) string {
	written := make([]string, len(columns))
	for i, col := range columns {
		written[i] = col.sql + " AS " + col.alias
	}
	return strings.Join(written, ",\n  ")
}
