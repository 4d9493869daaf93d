package expr

import (
	"strings"

	"cel.dev/cel-go/common/ast"
)

// clause is one operand of the && or || an expression consists of.
type clause struct {
	Clause
	condition condition
}

// Clause is where an operand of the outermost && or || stands in the source; an expression without them is its own only clause.
type Clause struct {
	Text         string
	Line, Column int // of its first character, both from 1
}

// Clauses are the operands of the outermost && or ||, in the order of the source.
func (e *Expr) Clauses() []Clause {
	clauses := make([]Clause, len(e.clauses))
	for i, c := range e.clauses {
		clauses[i] = c.Clause
	}
	return clauses
}

// clauses are the conditions of the outermost && or || with their places in the source.
func (l *lowering) clauses(root condition) []clause {
	operands := []condition{root}
	switch r := root.(type) {
	case and:
		operands = r.operands
	case or:
		operands = r.operands
	}
	source := []rune(l.source)
	bounds := []int{-2} // an operator has two characters
	if len(operands) > 1 {
		bounds = l.operatorOffsets(bounds, l.checked.Expr().AsCall().FunctionName(), l.checked.Expr())
	}
	bounds = append(bounds, len(source))
	clauses := make([]clause, len(operands))
	for i, operand := range operands {
		from, to := trimmed(source, bounds[i]+2, bounds[i+1])
		before := string(source[:from])
		line := strings.Count(before, "\n")
		column := len([]rune(before[strings.LastIndex(before, "\n")+1:]))
		clauses[i] = clause{Clause{Text: string(source[from:to]), Line: line + 1, Column: column + 1}, operand}
	}
	return clauses
}

// operatorOffsets appends where the operators of a chain stand, from left to right.
func (l *lowering) operatorOffsets(offsets []int, operator string, e ast.Expr) []int {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operator {
		return offsets
	}
	args := e.AsCall().Args()
	offsets = l.operatorOffsets(offsets, operator, args[0])
	at, _ := l.checked.SourceInfo().GetOffsetRange(e.ID())
	offsets = append(offsets, int(at.Start))
	return l.operatorOffsets(offsets, operator, args[1])
}

// trimmed narrows source[from:to] by space and by parentheses that have no partner in it.
func trimmed(source []rune, from, to int) (int, int) {
	const blank = " \t\r\n"
	for from < to {
		open := unmatched(source[from:to])
		switch first, final := source[from], source[to-1]; {
		case strings.ContainsRune(blank, first), first == '(' && open > 0:
			from++
		case strings.ContainsRune(blank, final), final == ')' && open < 0:
			to--
		default:
			return from, to
		}
	}
	return from, to
}

// unmatched is how many parentheses are opened more than closed, outside of quotes.
func unmatched(source []rune) (open int) {
	quote := rune(0)
	for i := 0; i < len(source); i++ {
		switch r := source[i]; {
		case quote != 0 && r == '\\':
			i++
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == '(':
			open++
		case r == ')':
			open--
		}
	}
	return open
}
