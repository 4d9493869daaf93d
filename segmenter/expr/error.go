package expr

import (
	"fmt"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// Error is an expression that cannot be understood. It is an audience.ErrInvalid, as an InvalidError of the field "expression".
type Error struct {
	Segment audience.SegmentID // whose expression it is, when several are compiled; "" otherwise
	Line    int                // from 1
	Column  int                // in characters, from 1
	Message string             // what is wrong
	Hint    string             // what would be right; may be ""
	Excerpt string             // the line of the source, or the part of it around the column
	caret   int                // characters of the excerpt before the fault
}

// Error is the message with its place, the line of the source and the hint, on up to four lines.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Segment != "" {
		fmt.Fprintf(&b, "segment %q: ", e.Segment)
	}
	fmt.Fprintf(&b, "%d:%d: %s", e.Line, e.Column, e.Message)
	if e.Excerpt != "" {
		fmt.Fprintf(&b, "\n  %s\n  %s^", e.Excerpt, strings.Repeat(" ", e.caret))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n  %s", e.Hint)
	}
	return b.String()
}

// Unwrap makes the error an audience.InvalidError of the field "expression".
func (e *Error) Unwrap() error { return audience.Invalid("expression", "%s", e.Error()) }

// excerptWidth is how much of a line an error shows.
const excerptWidth = 100

// errorAt is an error at a place of the source: line from 1, column in characters from 0.
func errorAt(source string, line, column int, hint, format string, args ...any) *Error {
	e := &Error{Line: max(line, 1), Column: column + 1, Message: fmt.Sprintf(format, args...), Hint: hint}
	lines := strings.Split(source, "\n")
	if e.Line > len(lines) {
		return e
	}
	visible := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, lines[e.Line-1]))
	e.caret = min(max(column, 0), len(visible))
	if from := e.caret - excerptWidth/2; len(visible) > excerptWidth && from > 0 {
		visible, e.caret = visible[from:], excerptWidth/2
	}
	e.Excerpt = string(visible[:min(len(visible), excerptWidth)])
	return e
}

// didYouMean is a hint naming the candidate nearest to name, or "".
func didYouMean(name string, candidates []string) string {
	best, nearest := "", len(name)/2+1
	for _, candidate := range candidates {
		if d := editDistance(name, candidate); d < nearest {
			best, nearest = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// editDistance is Levenshtein's, in bytes, case ignored; names longer than 64 bytes are far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
