package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/kohorta/kohorta/internal/audience"
)

// Bounds of an expression.
const (
	MaxSourceBytes = 16 << 10 // of one expression
	maxNesting     = 100      // of parentheses, calls and operators within one another
)

// Expr is a checked expression.
type Expr struct {
	source   string
	root     condition
	number   value // of one that is a number, whose root is true; else nil
	clauses  []clause
	mentions []mention
}

// String is the source.
func (e *Expr) String() string { return e.source }

// Parse checks an expression. What is wrong with it is said by an *Error, the first fault of the source.
func Parse(source string) (*Expr, error) { return parse(Segment{Expression: source}) }

// ParseNumber checks an expression that is a number, such as sum("purchase", "365d"). Its faults are said as those of Parse.
func ParseNumber(source string) (*Expr, error) {
	return parse(Segment{Expression: source, Numeric: true})
}

// parse checks the expression of a segment.
func parse(s Segment) (*Expr, error) {
	source, example := s.Expression, usage["did"]
	if s.Numeric {
		example = usage["sum"]
	}
	if len(source) > MaxSourceBytes {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression has %d bytes; at most %d are allowed", len(source), MaxSourceBytes),
			Hint: `put parts into segments of their own and refer to them by in_segment("id")`}
	}
	if !utf8.ValidString(source) {
		return nil, &Error{Line: 1, Column: 1, Message: "the expression is not valid UTF-8", Hint: "re-encode it"}
	}
	if strings.TrimSpace(source) == "" {
		return nil, &Error{Line: 1, Column: 1, Message: "the expression is empty", Hint: "for example: " + example}
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("declare the language: %w", err)
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, translate(source, issues)
	}
	tree := checked.NativeRep()
	l := &lowering{source: source, checked: tree, instead: s.Instead}
	if s.Numeric {
		number, err := l.number(tree.Expr())
		if err != nil {
			return nil, err
		}
		return &Expr{source: source, root: constant{true}, number: number, mentions: l.mentions}, nil
	}
	root, err := l.condition(tree.Expr())
	if err != nil {
		return nil, err
	}
	return &Expr{source: source, root: root, clauses: l.clauses(root), mentions: l.mentions}, nil
}

// translate puts the first fault CEL found into the words of this language.
func translate(source string, issues *cel.Issues) error {
	first := slices.MinFunc(issues.Errors(), func(a, b *cel.Error) int {
		if a.Location.Line() != b.Location.Line() {
			return a.Location.Line() - b.Location.Line()
		}
		return a.Location.Column() - b.Location.Column()
	})
	message, name, hint := reword(first.Message)
	column := max(first.Location.Column(), 0)
	if lines := strings.Split(source, "\n"); first.Location.Line() <= len(lines) {
		// CEL points at the parenthesis of a call; the fault is its name.
		if before := []rune(lines[max(first.Location.Line(), 1)-1]); column <= len(before) && strings.HasSuffix(string(before[:column]), name) {
			column -= len([]rune(name))
		}
	}
	return errorAt(source, first.Location.Line(), column, hint, "%s", message)
}

var (
	undeclaredName = regexp.MustCompile(`^undeclared reference to '(.*)' \(in container`)
	undefinedField = regexp.MustCompile(`^undefined field '(.*)'$`)
	noOverload     = regexp.MustCompile(`(?s)^found no matching overload for '(.*)' applied to '(.*)'$`)
	wrongType      = regexp.MustCompile(`^expected type '(.*)' but found '(.*)'$`)
)

// nestingHint helps where an expression is nested too deeply.
const nestingHint = `put the inner part into a segment of its own and refer to it by in_segment("id")`

// reword says CEL's message in the words of this language, with the name at fault and a hint where there are such.
func reword(message string) (reworded, name, hint string) {
	if strings.Contains(message, "recursion") {
		return fmt.Sprintf("the expression is nested deeper than %d levels", maxNesting), "", nestingHint
	}
	if found := undeclaredName.FindStringSubmatch(message); found != nil {
		candidates := slices.Concat(slices.Sorted(maps.Keys(usage)), variables, []string{"true", "false"})
		if hint = didYouMean(found[1], candidates); hint == "" {
			hint = "there are " + strings.Join(candidates, ", ")
		}
		return fmt.Sprintf("%.60q is not known", found[1]), found[1], hint
	}
	if found := undefinedField.FindStringSubmatch(message); found != nil {
		return fmt.Sprintf("there is no field %.60q", found[1]), "", "there are " + strings.Join(fieldNames(), ", ")
	}
	if found := noOverload.FindStringSubmatch(message); found != nil {
		name, given := found[1], plainTypes(found[2])
		if how, known := usage[name]; known {
			return fmt.Sprintf("%s cannot be called with %s", name, given), name, "use " + how
		}
		return fmt.Sprintf("%s cannot be applied to %s", strings.Trim(name, "_@"), given), "",
			"operands need one type: number, text, timestamp, duration or true/false"
	}
	if found := wrongType.FindStringSubmatch(message); found != nil {
		return fmt.Sprintf("a %s stands where %s is needed", plainTypes(found[2]), plainTypes(found[1])), "", "compare it with something"
	}
	if strings.HasPrefix(message, "Syntax error: mismatched input '<EOF>'") {
		return "the expression ends too early", "", "an operand or a closing parenthesis is missing"
	}
	message, _, _ = strings.Cut(message, " expecting ")
	return strings.TrimPrefix(message, "Syntax error: "), "", ""
}

// plainTypes names CEL's types as the documentation does.
func plainTypes(types string) string {
	return strings.NewReplacer("google.protobuf.Timestamp", "timestamp", "google.protobuf.Duration", "duration",
		"map(string, dyn)", "all properties", "uint", "unsigned number", "int", "number", "double", "number", "string", "text", "bool", "true/false", "dyn", "property").Replace(types)
}

// lowering turns CEL's checked syntax into the tree.
type lowering struct {
	source   string
	checked  *ast.AST
	instead  map[audience.SegmentID]audience.SegmentID
	inEvent  bool // inside the predicate of an aggregate
	depth    int
	mentions []mention
}

// errorAt is an error at the place of a node.
func (l *lowering) errorAt(e ast.Expr, hint, format string, args ...any) error {
	place := l.checked.SourceInfo().GetStartLocation(e.ID())
	return errorAt(l.source, place.Line(), place.Column(), hint, format, args...)
}

// enter counts a level of nesting; every call is followed by leave.
func (l *lowering) enter(e ast.Expr) error {
	if l.depth++; l.depth > maxNesting {
		return l.errorAt(e, nestingHint, "the expression is nested deeper than %d levels", maxNesting)
	}
	return nil
}

func (l *lowering) leave() { l.depth-- }
