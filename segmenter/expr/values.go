package expr

import (
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Values composes a query for the number of a Numeric segment of the program at a time, to the millisecond, of the users of whom a condition
// on user_id holds. The condition is SQL of the caller's own. The rows are
//
//	user_id String
//	value   Float64  NaN where a part of the expression is missing; may be infinite; never -0
func (p *Program) Values(id audience.SegmentID, at time.Time, users string) audience.Query {
	target := p.byID[id]
	c := newComposer(p, at)
	c.only = users
	levels := c.levels(p.closure(target))
	level := p.units[target].level
	levels[level] = append(levels[level], column{"value", c.ofUser().number(p.units[target].expr.number) + " + 0"})
	return c.query("user_id, value", levels)
}
