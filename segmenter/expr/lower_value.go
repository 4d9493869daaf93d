package expr

import (
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kohorta/kohorta/internal/audience"
)

// kindOf is the kind the checker found; unknown for properties, whose kind the other operand decides.
func (l *lowering) kindOf(e ast.Expr) kind {
	switch l.checked.GetType(e.ID()).Kind() {
	case types.IntKind, types.DoubleKind:
		return number
	case types.StringKind:
		return text
	case types.TimestampKind:
		return moment
	case types.DurationKind:
		return span
	case types.BoolKind:
		return truth
	}
	if e.Kind() != ast.CallKind {
		return unknown
	}
	switch call := e.AsCall(); call.FunctionName() {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Negate:
		return number // arithmetic on properties
	case operators.Conditional:
		if of := l.kindOf(call.Args()[1]); of != unknown {
			return of
		}
		return l.kindOf(call.Args()[2])
	default:
		return unknown
	}
}

// value lowers what must be a value of a kind.
func (l *lowering) value(e ast.Expr, want kind) (value, error) {
	if err := l.enter(e); err != nil {
		return nil, err
	}
	defer l.leave()

	v, err := l.anyValue(e, want)
	if err != nil {
		return nil, err
	}
	if v.kind() != want {
		return nil, l.errorAt(e, "", "a %s stands where a %s is needed", v.kind(), want)
	}
	return v, nil
}

// number lowers what must be a number as a whole.
func (l *lowering) number(e ast.Expr) (value, error) {
	if of := l.kindOf(e); of != number && of != unknown {
		return nil, l.errorAt(e, "for example: sum(\"purchase\", \"365d\")", "a %s stands where a number is needed", of)
	}
	return l.value(e, number)
}

func (l *lowering) anyValue(e ast.Expr, want kind) (value, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		return l.literal(e)
	case ast.IdentKind:
		switch name := e.AsIdent(); name {
		case "value":
			return field{from: eventValue, of: number}, l.needEvent(e, name)
		case "now":
			return now{}, l.needUser(e, name)
		default:
			return nil, l.errorAt(e, "name one of its fields", "%s is no value by itself", name)
		}
	case ast.SelectKind:
		if record := e.AsSelect().Operand(); record.Kind() == ast.IdentKind {
			return l.selected(e, record.AsIdent(), e.AsSelect().FieldName(), want)
		}
	case ast.CallKind:
		return l.valueCall(e, e.AsCall(), want)
	}
	return nil, l.errorAt(e, "", "this is not a %s", want)
}

func (l *lowering) literal(e ast.Expr) (value, error) {
	switch v := e.AsLiteral().(type) {
	case types.String:
		return literal{of: text, text: string(v)}, nil
	case types.Int:
		const exact = 1 << 53
		if v > exact || v < -exact {
			return nil, l.errorAt(e, "", "%d is beyond ±2^53, where numbers are no longer exact", int64(v))
		}
		return literal{of: number, number: float64(v)}, nil
	case types.Double:
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			return nil, l.errorAt(e, "", "the number is too large")
		}
		return literal{of: number, number: float64(v)}, nil
	default:
		return nil, l.errorAt(e, "", "a constant of type %s cannot stand here", e.AsLiteral().Type().TypeName())
	}
}

func (l *lowering) valueCall(e ast.Expr, call ast.CallExpr, want kind) (value, error) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.Index:
		if args[0].Kind() != ast.IdentKind {
			return nil, l.errorAt(e, "", "only prop and attr have named entries")
		}
		key, err := l.constant(args[1], "the name of a property")
		if err != nil {
			return nil, err
		}
		return l.property(e, args[0].AsIdent(), key, want)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		return l.arithmetic(e, name, args[0], args[1])
	case operators.Negate:
		of := l.kindOf(args[0])
		if of == unknown {
			of = number
		}
		v, err := l.value(args[0], of)
		return arithmetic{'-', literal{of: of}, v, of}, err
	case operators.Conditional:
		return l.pick(e, args, want)
	case "count", "count_distinct", "sum", "avg", "min", "max", "first_value", "last_value", "last", "first", "days_since":
		return l.aggregate(e, function(name), args, want)
	case "percentile":
		return l.percentile(args[0])
	case "cluster":
		model, err := l.id(e, args[0], aClustering, "a model")
		return field{from: score, model: audience.ModelID(model), name: "label", of: number}, err
	case "step", "without":
		return nil, l.errorAt(e, usage["sequence"], "%s stands in a sequence only", name)
	case "timestamp":
		return l.parsed(args[0], moment, parseMoment)
	case "duration":
		return l.parsed(args[0], span, parseSpan)
	default:
		return nil, l.errorAt(e, "", "this is not a %s", want)
	}
}

// arithmetic lowers a op b; the checker has seen that the types fit, but for properties.
func (l *lowering) arithmetic(e ast.Expr, name string, a, b ast.Expr) (value, error) {
	sign := map[string]byte{operators.Add: '+', operators.Subtract: '-', operators.Multiply: '*', operators.Divide: '/'}[name]
	left, right := l.kindOf(a), l.kindOf(b)
	if left == unknown {
		left = number
	}
	if right == unknown {
		right = number
	}
	of := number
	switch {
	case left == number && right == number:
	case left == moment && right == moment && sign == '-', left == span && right == span:
		of = span
	case left == moment && right == span, left == span && right == moment && sign == '+':
		of = moment
	default:
		return nil, l.errorAt(e, "", "%c cannot be applied to %s and %s", sign, left, right)
	}
	x, err := l.value(a, left)
	if err != nil {
		return nil, err
	}
	y, err := l.value(b, right)
	return arithmetic{sign, x, y, of}, err
}

func (l *lowering) pick(e ast.Expr, args []ast.Expr, want kind) (value, error) {
	if want == text {
		return nil, l.errorAt(e, `write (test && attr["a"] == "x") || (!test && attr["b"] == "x")`, "? : cannot choose between texts")
	}
	test, err := l.condition(args[0])
	if err != nil {
		return nil, err
	}
	then, err := l.value(args[1], want)
	if err != nil {
		return nil, err
	}
	otherwise, err := l.value(args[2], want)
	return pick{test, then, otherwise}, err
}

// parsed lowers a constant with a syntax of its own.
func (l *lowering) parsed(e ast.Expr, of kind, parse func(string) (float64, error)) (value, error) {
	source, err := l.constant(e, "the "+of.String())
	if err != nil {
		return nil, err
	}
	n, err := parse(source)
	if err != nil {
		return nil, l.errorAt(e, "for example: "+usage[of.String()], "%s", err)
	}
	return literal{of: of, number: n}, nil
}

// constant is a text that must be written out.
func (l *lowering) constant(e ast.Expr, what string) (string, error) {
	if e.Kind() == ast.LiteralKind {
		if s, ok := e.AsLiteral().(types.String); ok {
			return string(s), nil
		}
	}
	return "", l.errorAt(e, `write it in quotes`, "%s must be a constant text", what)
}
