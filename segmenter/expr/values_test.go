package expr

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestValuesAreTheReferences: of each user asked about the query says the number that the reference evaluator finds, and nothing of the others.
func TestValuesAreTheReferences(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	generator := rapid.Custom(func(t *rapid.T) History { return aHistory(t, at) })
	var histories []History
	for i := range 60 {
		histories = append(histories, generator.Example(i))
	}
	ids := w.write(histories)
	for _, source := range []string{
		`sum("purchase", "365d")`,
		`rfm.monetary`,
		`attr["age"]`,
		`attr.age * 2`,
		`count("visit")`,
		`5`,
		`-sum("purchase")`,
		`sum("purchase") / count("visit", "30d")`,
		`in_segment("s0") ? sum("purchase") : 0.5`,
		`percentile(rfm.monetary) * 100 + cluster("habits")`,
		`max("purchase", value) - min("purchase", value)`,
	} {
		t.Run(source, func(t *testing.T) {
			p, err := Compile([]Segment{{ID: "s0", Number: 1, Expression: `did("purchase")`}, {ID: "n", Expression: source, Numeric: true}}, models)
			require.NoError(t, err)
			want := map[audience.UserID]string{}
			for i, h := range histories[10:40] {
				h.User = ids[10+i]
				found := evaluation{p.complete(h, at), at.UnixMilli(), nil}.of(p.Expr("n").number)
				want[h.User] = shown(found.number, found.missing)
			}
			got := map[audience.UserID]string{}
			q := p.Values("n", at, fmt.Sprintf("user_id >= '%s' AND user_id < '%s'", ids[10], ids[40]))
			require.NoError(t, w.store.Select(t.Context(), q, func(scan func(...any) error) error {
				var user string
				var value float64
				err := scan(&user, &value)
				require.False(t, value == 0 && math.Signbit(value), "-0 of %s", user)
				got[audience.UserID(user)] = shown(value, math.IsNaN(value))
				return err
			}), q.SQL)
			require.Equal(t, want, got)
		})
	}
}

func shown(number float64, missing bool) string {
	if missing {
		return "missing"
	}
	return fmt.Sprint(number + 0)
}

func TestWhatIsNoNumber(t *testing.T) {
	for _, c := range []struct {
		name, source string
		line, column int
		message      string
	}{
		{"condition", "\n did(\"purchase\")", 2, 5, "a true/false stands where a number is needed"},
		{"text", `rfm.segment`, 1, 4, "a text stands where a number is needed"},
		{"timestamp", `last("purchase")`, 1, 5, "a timestamp stands where a number is needed"},
		{"duration", `now - last("purchase")`, 1, 5, "a duration stands where a number is needed"},
		{"property of an event", `prop.price`, 1, 5, "prop belongs to an event"},
		{"unknown name", `sum("purchase") + ltv`, 1, 19, `"ltv" is not known`},
		{"empty", "", 1, 1, "the expression is empty"},
		{"segment", `in_segment("vip")`, 1, 11, "a true/false stands where a number is needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseNumber(c.source)
			var fault *Error
			require.ErrorAs(t, err, &fault)
			require.Equal(t, [2]int{c.line, c.column}, [2]int{fault.Line, fault.Column})
			require.Contains(t, fault.Message, c.message)
		})
	}
	_, err := ParseNumber(`attr["ltv"]`)
	require.NoError(t, err)
	_, err = Compile([]Segment{{Expression: `in_segment("none") ? 1.0 : 2.0`, Numeric: true}}, models)
	require.ErrorContains(t, err, `there is no enabled segment "none"`)
	_, err = Compile([]Segment{{Expression: `rfm.monetary`, Numeric: true}}, nil)
	require.ErrorContains(t, err, `there is no rfm model "rfm"`)
}
