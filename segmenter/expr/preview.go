package expr

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Preview composes a query about one segment of the program, which need not hold the others in any table. Its one row is
//
//	size    UInt64         users in the segment
//	sample  Array(String)  at most sample of them: the same ones every time, chosen by a hash of the user id
//	clauses Array(UInt64)  for each of the expression's Clauses, the users of whom it holds by itself
//
// The segment must be one of those compiled.
func (p *Program) Preview(id audience.SegmentID, at time.Time, sample int) audience.Query {
	target := p.byID[id]
	c := newComposer(p, at)
	levels := c.levels(p.closure(target))
	level := p.units[target].level

	counts := make([]string, len(p.units[target].expr.clauses))
	for i, clause := range p.units[target].expr.clauses {
		name := fmt.Sprintf("k%d", i)
		levels[level] = append(levels[level], column{name, c.ofUser().condition(clause.condition)})
		counts[i] = fmt.Sprintf("countIf(%s)", name)
	}
	const in = "inside"
	levels[level] = append(levels[level], column{in, c.membership(target)})
	answer := fmt.Sprintf("countIf(%s) AS size,\n"+
		"  arrayMap(chosen -> chosen.2, groupArraySortedIf(%d)((cityHash64(user_id), user_id), %s)) AS sample,\n"+
		"  [%s] AS clauses", in, max(sample, 1), in, strings.Join(counts, ", "))
	return c.query(answer, levels)
}

// Expr is the checked expression of a compiled segment.
func (p *Program) Expr(id audience.SegmentID) *Expr { return p.units[p.byID[id]].expr }

// closure is a unit and all it depends on, be it through others, in the program's order.
func (p *Program) closure(target int) []int {
	needed := []int{target}
	for i := 0; i < len(needed); i++ {
		depends := slices.Clone(p.units[needed[i]].before)
		for _, id := range p.units[needed[i]].expr.References().Segments {
			depends = append(depends, p.byID[id])
		}
		for _, unit := range depends {
			if !slices.Contains(needed, unit) {
				needed = append(needed, unit)
			}
		}
	}
	slices.Sort(needed)
	return needed
}
