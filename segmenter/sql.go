package segmenter

import (
	"fmt"
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
)

// bind makes s a parameter of q and returns how the SQL names it.
func bind(q *audience.Query, s string) string {
	name := fmt.Sprintf("s%d", len(q.Params))
	q.Params[name] = s
	return "{" + name + ":String}"
}

// literal writes a float so that it reads back the same, in parentheses: "x-(-1)", never the comment "x--1".
func literal(f float64) string { return "(" + strconv.FormatFloat(f, 'g', -1, 64) + ")" }

func orDefault(values []string, value string) []string {
	if len(values) == 0 {
		return []string{value}
	}
	return values
}

func toUint64(ints []int) []uint64 {
	out := make([]uint64, len(ints))
	for i, n := range ints {
		out[i] = uint64(n)
	}
	return out
}
