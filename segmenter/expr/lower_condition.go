package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kohorta/kohorta/internal/audience"
)

// condition lowers what must be true or false.
func (l *lowering) condition(e ast.Expr) (condition, error) {
	if err := l.enter(e); err != nil {
		return nil, err
	}
	defer l.leave()

	switch k := l.kindOf(e); {
	case k == truth:
	case k == unknown && e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional:
		// each branch is a property that is a condition by itself
	case k == unknown:
		return l.flag(e, equal, "true")
	default:
		return nil, l.errorAt(e, "compare it with something", "a %s stands where true/false is needed", k)
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return constant{e.AsLiteral() == types.True}, nil
	case ast.SelectKind: // the checker lets only has(…) be a bool
		return l.presence(e)
	case ast.CallKind:
		return l.conditionCall(e, e.AsCall())
	default:
		return nil, l.errorAt(e, "", "this is not a condition")
	}
}

func (l *lowering) conditionCall(e ast.Expr, call ast.CallExpr) (condition, error) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd:
		operands, err := l.operands(name, nil, e)
		return and{operands}, err
	case operators.LogicalOr:
		operands, err := l.operands(name, nil, e)
		return or{operands}, err
	case operators.LogicalNot:
		operand, err := l.condition(args[0])
		return not{operand}, err
	case operators.Conditional:
		branches, err := l.conditions(args)
		if err != nil {
			return nil, err
		}
		return choice{branches[0], branches[1], branches[2]}, nil
	case operators.Equals:
		return l.comparison(e, equal, args[0], args[1])
	case operators.NotEquals:
		return l.comparison(e, notEqual, args[0], args[1])
	case operators.Less:
		return l.comparison(e, less, args[0], args[1])
	case operators.LessEquals:
		return l.comparison(e, lessOrEqual, args[0], args[1])
	case operators.Greater:
		return l.comparison(e, greater, args[0], args[1])
	case operators.GreaterEquals:
		return l.comparison(e, greaterOrEqual, args[0], args[1])
	case operators.In:
		return l.in(e, args[0], args[1])
	case string(startsWith), string(endsWith), string(contains):
		return l.match(matcher(name), call.Target(), args[0])
	case "did":
		events, err := l.aggregate(e, count, args, number)
		return comparison{greater, events, literal{of: number}}, err
	case "sequence":
		return l.sequence(e, args)
	case "in_segment":
		id, err := l.id(e, args[0], aSegment, "a segment")
		return member{audience.SegmentID(id)}, err
	default:
		return nil, l.errorAt(e, "", "%s is not a condition", name)
	}
}

// operands lowers the operands of a chain of one operator, in the order of the source; CEL keeps a chain as a balanced tree.
func (l *lowering) operands(operator string, before []condition, e ast.Expr) ([]condition, error) {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operator {
		var err error
		for _, arg := range e.AsCall().Args() {
			if before, err = l.operands(operator, before, arg); err != nil {
				return nil, err
			}
		}
		return before, nil
	}
	operand, err := l.condition(e)
	return append(before, operand), err
}

func (l *lowering) conditions(exprs []ast.Expr) ([]condition, error) {
	lowered := make([]condition, len(exprs))
	for i, e := range exprs {
		var err error
		if lowered[i], err = l.condition(e); err != nil {
			return nil, err
		}
	}
	return lowered, nil
}

// comparison lowers a op b. A property takes the type of the other side.
func (l *lowering) comparison(e ast.Expr, op operator, a, b ast.Expr) (condition, error) {
	of, other := l.kindOf(a), l.kindOf(b)
	if of == unknown {
		of = other
	}
	switch {
	case isNull(a) || isNull(b):
		return nil, l.errorAt(e, usage["has"], "there is no null; has(…) tests whether a field has a value")
	case of == unknown:
		return nil, l.errorAt(e, `compare it with a text or a number: prop.category == "Furniture", prop.price > 10.0`,
			"both sides are properties, whose type is not known")
	case of != truth:
		left, err := l.value(a, of)
		if err != nil {
			return nil, err
		}
		right, err := l.value(b, of)
		return comparison{op, left, right}, err
	case l.kindOf(a) == unknown:
		return l.comparedFlag(op, a, b)
	case other == unknown:
		return l.comparedFlag(op, b, a)
	}
	sides, err := l.conditions([]ast.Expr{a, b})
	if err != nil {
		return nil, err
	}
	if op == notEqual {
		return not{same{sides[0], sides[1]}}, nil
	}
	return same{sides[0], sides[1]}, nil
}

func isNull(e ast.Expr) bool { return e.Kind() == ast.LiteralKind && e.AsLiteral() == types.NullValue }

// comparedFlag lowers property == true and its like.
func (l *lowering) comparedFlag(op operator, property, flag ast.Expr) (condition, error) {
	if flag.Kind() != ast.LiteralKind {
		return nil, l.errorAt(flag, "compare the property with true or false and join the conditions by &&", "a property cannot be compared with a condition")
	}
	if flag.AsLiteral() == types.True {
		return l.flag(property, op, "true")
	}
	return l.flag(property, op, "false")
}

// flag compares a property that is stored as the text of a boolean.
func (l *lowering) flag(property ast.Expr, op operator, truth string) (condition, error) {
	v, err := l.value(property, text)
	return comparison{op, v, literal{of: text, text: truth}}, err
}

// in lowers a in [b, c] and "key" in prop.
func (l *lowering) in(e, needle, haystack ast.Expr) (condition, error) {
	if haystack.Kind() == ast.IdentKind {
		key, err := l.constant(needle, "the name of a property")
		if err != nil {
			return nil, err
		}
		f, err := l.property(haystack, haystack.AsIdent(), key, unknown)
		return present{f}, err
	}
	if haystack.Kind() != ast.ListKind {
		return nil, l.errorAt(e, `for example: prop.category in ["Furniture", "Technology"]`, "in needs a list that is written out")
	}
	elements := haystack.AsList().Elements()
	of := l.kindOf(needle)
	if of == unknown && len(elements) > 0 {
		of = l.kindOf(elements[0])
	}
	if of == unknown {
		of = text // nothing is in the empty list, whatever its type
	}
	needleValue, err := l.value(needle, of)
	if err != nil {
		return nil, err
	}
	among := oneOf{needle: needleValue}
	for _, element := range elements {
		v, err := l.value(element, of)
		if err != nil {
			return nil, err
		}
		constant, ok := v.(literal)
		if !ok {
			return nil, l.errorAt(element, "write the alternatives as comparisons joined by ||", "a list holds constants only")
		}
		among.list = append(among.list, constant)
	}
	return among, nil
}

func (l *lowering) match(how matcher, target, part ast.Expr) (condition, error) {
	v, err := l.value(target, text)
	if err != nil {
		return nil, err
	}
	wanted, err := l.constant(part, "what "+string(how)+" looks for")
	return match{how, v, wanted}, err
}

// presence lowers has(record.field).
func (l *lowering) presence(e ast.Expr) (condition, error) {
	sel := e.AsSelect()
	if sel.Operand().Kind() != ast.IdentKind {
		return nil, l.errorAt(e, usage["has"], "has needs a field")
	}
	f, err := l.selected(e, sel.Operand().AsIdent(), sel.FieldName(), unknown)
	return present{f}, err
}
