package expr

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kohorta/kohorta/internal/audience"
)

// Filter makes a test of memberships out of an expression over segments, such as vip && !in_segment("recent-buyers"): a segment
// is named by its id, or by in_segment where the id is no identifier. numberOf knows the segments there are. Errors are *Error.
func Filter(source string, numberOf func(audience.SegmentID) (audience.Number, bool)) (func([]audience.Number) bool, error) {
	if len(source) > MaxSourceBytes || !utf8.ValidString(source) {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter is no UTF-8 text of at most %d bytes", MaxSourceBytes)}
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("declare the language: %w", err)
	}
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		return nil, translate(source, issues)
	}
	f := filtering{source: source, parsed: parsed.NativeRep(), numberOf: numberOf}
	return f.test(f.parsed.Expr())
}

// filtering turns the tree of a filter into a function.
type filtering struct {
	source   string
	parsed   *ast.AST
	numberOf func(audience.SegmentID) (audience.Number, bool)
}

func (f filtering) test(e ast.Expr) (func([]audience.Number) bool, error) {
	switch e.Kind() {
	case ast.IdentKind:
		return f.member(e, e.AsIdent())
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == "in_segment" && len(call.Args()) == 1 && !call.IsMemberFunction() && call.Args()[0].Kind() == ast.LiteralKind {
			if id, isText := call.Args()[0].AsLiteral().Value().(string); isText {
				return f.member(e, id)
			}
		}
		return f.combined(e, call)
	default:
		return nil, f.errorAt(e)
	}
}

// member holds for those in a segment.
func (f filtering) member(e ast.Expr, id string) (func([]audience.Number) bool, error) {
	number, known := f.numberOf(audience.SegmentID(id))
	if !known {
		place := f.parsed.SourceInfo().GetStartLocation(e.ID())
		return nil, errorAt(f.source, place.Line(), place.Column(), `an id with a dash is written in_segment("id")`, "there is no segment %q", id)
	}
	return func(in []audience.Number) bool {
		_, found := slices.BinarySearch(in, number)
		return found
	}, nil
}

func (f filtering) combined(e ast.Expr, call ast.CallExpr) (func([]audience.Number) bool, error) {
	parts := make([]func([]audience.Number) bool, len(call.Args()))
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
	default:
		return nil, f.errorAt(e)
	}
	for i, argument := range call.Args() {
		var err error
		if parts[i], err = f.test(argument); err != nil {
			return nil, err
		}
	}
	switch call.FunctionName() {
	case operators.LogicalNot:
		return func(in []audience.Number) bool { return !parts[0](in) }, nil
	case operators.LogicalOr:
		return func(in []audience.Number) bool {
			return slices.ContainsFunc(parts, func(part func([]audience.Number) bool) bool { return part(in) })
		}, nil
	default:
		return func(in []audience.Number) bool {
			return !slices.ContainsFunc(parts, func(part func([]audience.Number) bool) bool { return !part(in) })
		}, nil
	}
}

func (f filtering) errorAt(e ast.Expr) error {
	place := f.parsed.SourceInfo().GetStartLocation(e.ID())
	return errorAt(f.source, place.Line(), place.Column(), `for example: vip && !in_segment("recent-buyers")`, "a filter joins segments by &&, || and ! only")
}
