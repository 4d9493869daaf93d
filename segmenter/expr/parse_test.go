package expr

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestFaultsAreSaidWhereTheyStand(t *testing.T) {
	for _, c := range []struct {
		name, source  string
		line, column  int
		message, hint string // contained in the error's
	}{
		{"empty", " \n", 1, 1, "is empty", `did("visit")`},
		{"invalid UTF-8", "did(\"\xff\")", 1, 1, "not valid UTF-8", "re-encode"},
		{"ends early", `did("a") &&`, 1, 12, "ends too early", "missing"},
		{"unknown function", "did(\"a\") &&\n  cuont(\"b\") > 1", 2, 3, `"cuont" is not known`, "did you mean count?"},
		{"unknown method", `attr.x.matches("a+")`, 1, 8, `"matches" is not known`, "startsWith"},
		{"unknown name", `foo > 1`, 1, 1, `"foo" is not known`, "rfm"},
		{"unknown field", `rfm.recency > 1`, 1, 4, `no field "recency"`, "rfm.recency_days"},
		{"macro", `[1].all(x, x > 1)`, 1, 5, `"all" is not known`, ""},
		{"wrong argument", `count(5) > 1`, 1, 1, "count cannot be called with (number)", `count("purchase", "30d")`},
		{"wrong types", `rfm.r > "a"`, 1, 7, "> cannot be applied to (number, text)", "one type"},
		{"no condition", `count("a")`, 1, 6, "a number stands where true/false is needed", "compare it"},
		{"no condition inside", `did("a") && 5`, 1, 13, "a number stands where true/false is needed", "compare it"},
		{"two properties", `attr.a == attr.b`, 1, 8, "both sides are properties", "compare it with a text or a number"},
		{"null", `attr.a == null`, 1, 8, "there is no null", "has("},
		{"property outside", `prop.a == 1`, 1, 5, "prop belongs to an event", "last argument"},
		{"value outside", `value > 1.0`, 1, 1, "value belongs to an event", "last argument"},
		{"aggregate in predicate", `did("a", did("b"))`, 1, 13, "cannot stand inside the predicate", "outside by &&"},
		{"score in predicate", `did("a", rfm.r > 1)`, 1, 13, "cannot stand inside the predicate", "outside by &&"},
		{"negative window", `count("x", "-5d") > 1`, 1, 12, `"-5d" is not a window`, `"30d"`},
		{"endless window", `did("x", "1000000000d")`, 1, 10, "longer than 100 years", `"30d"`},
		{"exponent in a window", `did("x", "1e9d")`, 1, 10, `"1e9d" is not a window`, `"30d"`},
		{"huge window", `did("x", "` + strings.Repeat("9", 1000) + `d")`, 1, 10, "is not a window", `"30d"`},
		{"empty window", `did("x", "0d")`, 1, 10, "holds no event", `"30d"`},
		{"window of months", `did("x", "3M")`, 1, 10, `"3M" is not a window`, `"30d"`},
		{"computed window", `did("x", rfm.segment, true)`, 1, 13, "the window must be a constant text", "quotes"},
		{"computed type", `did(rfm.segment)`, 1, 8, "the type of the event must be a constant text", "quotes"},
		{"empty type", `did("")`, 1, 5, "an event type has 1 to 64 bytes", ""},
		{"bad time", `now > timestamp("2024")`, 1, 17, `"2024" is not a time`, "2024-01-01T00:00:00Z"},
		{"too fine a duration", `now - last("a") > duration("1us")`, 1, 28, "finer than a millisecond", ""},
		{"percentile of a score", `percentile(rfm.r) > 0.5`, 1, 15, "of rfm.recency_days, rfm.frequency or rfm.monetary", "percentile(rfm.monetary)"},
		{"percentile of an attribute", `percentile(attr.frequency) > 0.5`, 1, 16, "of rfm.recency_days", "percentile(rfm.monetary)"},
		{"percentile of an aggregate", `percentile(sum("x")) > 0.5`, 1, 15, "of rfm.recency_days", "percentile(rfm.monetary)"},
		{"percentile in a predicate", `did("x", value > percentile(rfm.monetary))`, 1, 32, "cannot stand inside the predicate", "outside by &&"},
		{"bad id", `in_segment("VIP!")`, 1, 12, `"VIP!" is not the id of a segment`, "a-z"},
		{"calendar of nowhere", `did("x", "today in Mordor")`, 1, 10, `"Mordor" is no IANA time zone`, "Europe/Berlin"},
		{"50 steps", `sequence([` + strings.Repeat(`"a", `, 49) + `"a"])`, 1, 10, "at most 10 steps, not 50", "in_segment"},
		{"no steps", `sequence([])`, 1, 10, "at least one step", "sequence("},
		{"a number as a step", `sequence(["a", 5])`, 1, 16, "a step is the type of an event", "without("},
		{"a computed step", `sequence(["a", rfm.segment])`, 1, 19, "the type of the event must be a constant text", "quotes"},
		{"computed steps", `sequence(attr.steps)`, 1, 14, "must be a list", "sequence("},
		{"an absence first", `sequence([without("a"), "b"])`, 1, 18, "cannot begin with what must not happen", "!did("},
		{"a time before the first step", `sequence([step("a", "1h"), "b"])`, 1, 15, "comes after nothing", "window"},
		{"an absence for a time in between", `sequence(["a", without("b", "1h"), "c"])`, 1, 23, "can last for a time", "leave"},
		{"a step's calendar", `sequence(["a", step("b", "today")])`, 1, 26, `"today" is not a window`, `"30d"`},
		{"a step alone", `step("a")`, 1, 5, "step stands in a sequence only", "sequence("},
		{"a mean of texts", `avg("a", "7d") > 1`, 1, 1, "avg cannot be called with (text, text)", "avg(\"purchase\", value"},
		{"a property of the user", `max("a", attr.x) > 1`, 1, 14, "cannot stand inside the predicate", ""},
		{"list of variables", `rfm.r in [rfm.f]`, 1, 14, "constants only", "||"},
		{"inexact number", `rfm.r == 9007199254740993`, 1, 10, "2^53", ""},
		{"number too large", `value > 1e999`, 1, 9, "double", ""},
		{"property and condition", `attr.a == did("b")`, 1, 14, "cannot be compared with a condition", "true or false"},
		{"choice of texts", `(true ? attr.a : attr.b) == "x"`, 1, 7, "cannot choose between texts", "&&"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.source)
			var fault *Error
			require.ErrorAs(t, err, &fault)
			require.ErrorIs(t, err, audience.ErrInvalid)
			require.Contains(t, fault.Message, c.message)
			require.Contains(t, fault.Hint, c.hint)
			require.Equal(t, [2]int{c.line, c.column}, [2]int{fault.Line, fault.Column}, err)
			var invalid *audience.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "expression", invalid.Violations[0].Field)
		})
	}
}

func TestErrorShowsTheLineAndPointsAtTheFault(t *testing.T) {
	_, err := Parse("did(\"ünlü\") &&\n\tdid(\"b\", \"7x\")")
	require.EqualError(t, err, `2:11: "7x" is not a window
   did("b", "7x")
            ^
  a window is a whole number and s, m, h, d or w: "30d", "12h"; or "today", "this month in Europe/Berlin"; "all" is all history`)

	_, err = Parse(strings.Repeat("true && ", 100) + "fals" + strings.Repeat(" && true", 100))
	require.EqualError(t, err, `1:801: "fals" is not known
  & true && true && true && true && true && true && fals && true && true && true && true && true && tr
                                                    ^
  did you mean false?`)
}

// TestHugeInputIsRefusedFast: nothing a caller can send takes noticeable time or stack.
func TestHugeInputIsRefusedFast(t *testing.T) {
	for _, c := range []struct{ name, source string }{
		{"a megabyte", strings.Repeat("x", 1<<20)},
		{"10,000 parentheses", strings.Repeat("(", 10_000) + "true" + strings.Repeat(")", 10_000)},
		{"parentheses within the size", strings.Repeat("(", 8000) + "true" + strings.Repeat(")", 8000)},
		{"unclosed parentheses", strings.Repeat("(", 16_000)},
		{"lists", strings.Repeat("[", 16_000)},
		{"negations of parentheses", strings.Repeat("!(", 5000) + "true" + strings.Repeat(")", 5000)},
		{"a long sum", strings.Repeat("1+", 8000) + "1 > 0"},
		{"a long path", "attr" + strings.Repeat(".a", 8000) + " == 1"},
		{"choices", strings.Repeat("true ? true : ", 1100) + "true"},
		{"nonsense", strings.Repeat("$ ", 8000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			_, err := Parse(c.source)
			require.ErrorIs(t, err, audience.ErrInvalid)
			require.Less(t, time.Since(began), time.Minute) // it takes milliseconds; trying all ways would take years
			require.Less(t, len(err.Error()), 1000)
		})
	}
}

func TestReferences(t *testing.T) {
	e, err := Parse(`did("visit", prop.page == "a" && has(prop.ref)) && sum("purchase", "1d") > 1.0 || did("visit") ||
		in_segment("b") && in_segment("a") || rfm.r > 1 && cluster("km") == 1 || attr.plan == "x" && "age" in attr`)
	require.NoError(t, err)
	require.Equal(t, References{
		Events: []string{"purchase", "visit"}, Properties: []string{"page", "ref"}, Attributes: []string{"age", "plan"},
		Models: []audience.ModelID{"km", "rfm"}, Segments: []audience.SegmentID{"a", "b"},
	}, e.References())
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`rfm.r >= 4 && count("purchase", "30d") >= 2 && !did("visit", "7d")`,
		`last("a", prop["k"] in [1, 2.5]) > now - duration("720h")`, `(has(attr.x) ? rfm.r : -1) in []`, "attr.x.contains(\"\\u00e9\")\n|| true",
		`did("a") == (did("b") || "k" in attr)`, `!((!!!(`, `"\xff"`, `{1: 2}[1] == [3][0]`, `b'a' == r"\"`, "a.b{c: 1}", `timestamp("9999-12-31T23:59:59Z") - now > duration("-1s")`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		e, err := Parse(source)
		if err != nil {
			if !errors.Is(err, audience.ErrInvalid) || !utf8.ValidString(err.Error()) && utf8.ValidString(source) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, clause := range e.Clauses() {
			if clause.Text == "" || clause.Line < 1 || clause.Column < 1 {
				t.Fatalf("%+v", clause)
			}
		}
		e.Eval(History{}, time.UnixMilli(0))
	})
}
