package expr

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/segmenter/expr/exprtest"
)

// The vocabulary of random expressions and histories.
var vocabulary = exprtest.Vocabulary{
	EventTypes: []string{"purchase", "visit", "refund", "quo'te\\"},
	Keys:       []string{"category", "price", "vip", "odd {key:String}'"},
	Texts:      []string{"", "true", "false", "Furniture", "champions", "Fur", "zürich", "\x00'\\{p0:String}", "5"},
	Numbers:    []float64{0, 1, 2, 2.5, -1, 0.1, 0.333333, 100, -0.30000000000000004, 1e15},
	Countries:  []string{"", "DE", "TR"},
	Lengths:    []string{"1s", "10s", "1m", "1h", "1d", "2d", "1w", "90d", "36500d"},
	Zones:      []string{"America/New_York", "Asia/Kathmandu", "America/Sao_Paulo"},
	Clusters:   []string{"habits", "untrained"},
}

// anExpression is the text of a random condition; before is how many segments in_segment may name.
func anExpression(t *rapid.T, before int) string {
	return exprtest.Author{Vocabulary: vocabulary, Draw: drawing(t), Segments: firstIDs(before)}.Condition(3)
}

// drawing draws what rapid can shrink.
func drawing(t *rapid.T) exprtest.Draw {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
}

// firstIDs are the ids of the first n segments.
func firstIDs(n int) []string { return []string{"s0", "s1", "s2", "s3", "s4", "s5"}[:n] }

// TestEveryConstructIsDrawn holds what the laws rest on: random expressions have every overload, name and kind of window that the language has.
func TestEveryConstructIsDrawn(t *testing.T) {
	env, err := environment()
	require.NoError(t, err)
	var missing []string
	for _, f := range env.Functions() {
		for _, overload := range f.OverloadDecls() {
			missing = append(missing, overload.ID())
		}
	}
	missing = append(missing, slices.Concat(variables, fieldNames(), slices.Collect(maps.Keys(calendars)))...)
	require.Contains(t, missing, "sequence,list(dyn),string", "overloads have other names now")

	drawn := map[string]bool{}
	a := exprtest.Author{Vocabulary: vocabulary, Draw: exprtest.Drawing(rand.New(rand.NewPCG(1, 2))), Segments: firstIDs(2)}
	for range 10_000 {
		source := a.Condition(3)
		parsed, issues := env.Compile(source)
		require.NoError(t, issues.Err(), source)
		native := parsed.NativeRep()
		ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if overloads := native.ReferenceMap()[e.ID()]; overloads != nil && len(overloads.OverloadIDs) == 1 {
				drawn[overloads.OverloadIDs[0]] = true
			}
			switch e.Kind() {
			case ast.IdentKind:
				drawn[e.AsIdent()] = true
			case ast.SelectKind:
				drawn[e.AsSelect().Operand().AsIdent()+"."+e.AsSelect().FieldName()] = true
			case ast.LiteralKind:
				if text, isText := e.AsLiteral().(types.String); isText {
					name, _, _ := strings.Cut(string(text), " in ")
					drawn[name] = true
				}
			}
		}))
	}
	missing = slices.DeleteFunc(missing, func(name string) bool { return drawn[name] })
	require.Empty(t, missing, "never drawn: teach exprtest.Author")
}
