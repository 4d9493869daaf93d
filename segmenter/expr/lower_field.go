package expr

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/kohorta/kohorta/internal/audience"
)

// selected lowers record.field.
func (l *lowering) selected(e ast.Expr, record, name string, want kind) (field, error) {
	switch record {
	case "rfm":
		l.mention(e, anRFM, string(rfmModel))
		return field{from: score, model: rfmModel, name: name, of: records[record][name]}, l.needUser(e, record)
	case "profile":
		return field{from: ofProfile, name: name, of: records[record][name]}, l.needUser(e, record)
	default:
		return l.property(e, record, name, want)
	}
}

// property lowers an entry of prop or attr as the kind its surroundings ask for.
func (l *lowering) property(e ast.Expr, record, name string, want kind) (field, error) {
	if want != text && want != number && want != unknown {
		return field{}, l.errorAt(e, "", "a property is a text or a number, not a %s", want)
	}
	switch record {
	case "prop":
		l.mention(e, aProperty, name)
		return field{from: ofEvent, name: name, of: want}, l.needEvent(e, record)
	case "attr":
		l.mention(e, anAttribute, name)
		return field{from: attribute, name: name, of: want}, l.needUser(e, record)
	default:
		return field{}, l.errorAt(e, "prop and attr have entries", "%s has no entries", record)
	}
}

// needEvent refuses facts of an event outside a predicate.
func (l *lowering) needEvent(e ast.Expr, name string) error {
	if l.inEvent {
		return nil
	}
	return l.errorAt(e, "use it as the last argument of an aggregate: "+usage["did"], "%s belongs to an event", name)
}

// needUser refuses facts of the user inside a predicate.
func (l *lowering) needUser(e ast.Expr, name string) error {
	if !l.inEvent {
		return nil
	}
	return l.errorAt(e, "a predicate sees prop, value and constants; join other conditions outside by &&",
		"%s cannot stand inside the predicate on an event", name)
}

// id is the constant id of a resource.
func (l *lowering) id(e, arg ast.Expr, referent referent, of string) (string, error) {
	if err := l.needUser(e, of); err != nil {
		return "", err
	}
	id, err := l.constant(arg, "the id of "+of)
	if err != nil {
		return "", err
	}
	if err := audience.ValidSlug("id", id); err != nil {
		return "", l.errorAt(arg, "an id has 1 to 63 of a-z, 0-9, - and _, starting with a letter", "%.80q is not the id of %s", id, of)
	}
	l.mention(arg, referent, id)
	return id, nil
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

// fieldNames are the fields of the records, as an expression writes them.
func fieldNames() (names []string) {
	for _, record := range slices.Sorted(maps.Keys(records)) {
		for _, name := range slices.Sorted(maps.Keys(records[record])) {
			names = append(names, record+"."+name)
		}
	}
	return names
}
