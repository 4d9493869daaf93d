package expr

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestFaultsBetweenSegments(t *testing.T) {
	chain := []Segment{{ID: "chain-0", Number: 1, Expression: "true"}}
	for i := range maxChain {
		chain = append(chain, Segment{ID: audience.SegmentID(fmt.Sprintf("chain-%d", i+1)), Number: audience.Number(i + 2), Expression: fmt.Sprintf(`in_segment("chain-%d")`, i)})
	}
	for _, c := range []struct {
		name     string
		segments []Segment
		want     []string // all contained in the error
	}{
		{"itself", []Segment{{ID: "a", Number: 1, Expression: `true || in_segment("a")`}}, []string{`segment "a": 1:20`, "cycle: a → a"}},
		{"a cycle", []Segment{{ID: "a", Number: 1, Expression: `in_segment("b")`}, {ID: "b", Number: 2, Expression: `in_segment("c")`}, {ID: "c", Number: 3, Expression: `!in_segment("a")`}},
			[]string{`segment "c": 1:13`, "cycle: a → b → c → a"}},
		{"a cycle further on", []Segment{{ID: "a", Number: 1, Expression: `in_segment("b")`}, {ID: "b", Number: 2, Expression: `in_segment("b")`}}, []string{`segment "b"`, "cycle: b → b"}},
		{"a missing segment", []Segment{{ID: "vip", Number: 1, Expression: `true`}, {ID: "b", Number: 2, Expression: `in_segment("vipp")`}}, []string{`segment "b": 1:12`, `no enabled segment "vipp"`, "did you mean vip?"}},
		{"a missing model", []Segment{{ID: "a", Number: 1, Expression: `cluster("habit") == 1`}}, []string{`segment "a": 1:9`, `no kmeans model "habit"`, "did you mean habits?"}},
		{"a model of the wrong kind", []Segment{{ID: "a", Number: 1, Expression: `cluster("rfm") == 1`}}, []string{`no kmeans model "rfm"`}},
		{"a syntax error", []Segment{{ID: "a", Number: 1, Expression: `did("a"`}}, []string{`segment "a": 1:8`}},
		{"a long chain", chain, []string{"more than 32 steps"}},
		{"one id twice", []Segment{{ID: "a", Number: 1, Expression: `true`}, {ID: "a", Number: 2, Expression: `true`}}, []string{`"a" is given twice`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(c.segments, models)
			require.ErrorIs(t, err, audience.ErrInvalid)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestSegmentsReferringToOneAnother(t *testing.T) {
	p, err := Compile([]Segment{{ID: "a", Number: 1, Expression: `in_segment("c") || in_segment("b")`}, {ID: "b", Number: 2, Expression: `in_segment("c")`}, {ID: "c", Number: 3, Expression: `rfm.r > 1`}}, models)
	require.NoError(t, err)
	require.Equal(t, []audience.SegmentID{"a", "b"}, p.ReferringTo("c"))
	require.Empty(t, p.ReferringTo("a"))
	require.Equal(t, []audience.ModelID{"rfm"}, p.References().Models)
}

func TestEqualAggregatesAreComputedOnce(t *testing.T) {
	p := compile(t,
		`count("a", "24h", prop.x == "1" && value > 2.0) > 1 && did("b")`,
		`did("a", "1d", prop["x"] == "1" && value > 2) || count("b", "all") == 3 || count("b", "") == 4`)
	require.Equal(t, 2, strings.Count(p.Query(time.Now()).SQL, "countIf("), p.Query(time.Now()).SQL)
}

// TestOnlyWhatIsNeededIsRead: neither property maps nor tables nor a longer past than the windows'.
func TestOnlyWhatIsNeededIsRead(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sql := compile(t, `count("a", "7d") > 1 && sum("a", "30d") > 0.0`).Query(noon).SQL
	for _, unneeded := range []string{"texts", "numbers", "profiles", "scores"} {
		require.NotContains(t, sql, unneeded)
	}
	require.Contains(t, sql, fmt.Sprintf("time > fromUnixTimestamp64Milli(%d", noon.UnixMilli()-30*dayMillis))

	require.NotContains(t, compile(t, `attr.a > 1`).Query(noon).SQL, "events")
	_, where, _ := strings.Cut(compile(t, `count("a", "7d") > 1 && did("a")`).Query(noon).SQL, "WHERE")
	require.NotContains(t, where, "time > ", "all history of a")
}

// TestTextNeverBecomesSQL: whatever a user writes in quotes travels as a parameter.
func TestTextNeverBecomesSQL(t *testing.T) {
	for i, evil := range evilTexts {
		canary := "canary" + evil
		p := compile(t, everyTextPosition(canary))
		for _, s := range []string{p.Query(time.Now()).SQL, p.Preview("s0", time.Now(), 10).SQL} {
			require.NotContains(t, s, "canary", "%d", i)
		}
	}
}

var evilTexts = []string{
	`'`, `''`, `"`, "`", `\`, `\'`, `\\'`, `' OR 1=1 --`, `'); DROP TABLE events; --`, "{p0:String}", "{users:Array(String)}", "}", "{", "\x00", "\n", "\t", "\r", `\N`, `\0`, `\x27`,
	"ünïcödé ' 日本語 🎉", "\u2028\u202e\ufeff\u00a0", `%s %d %%`, "$1 ? @at :at", "/* */ -- #", "NULL", "[1,2]", "\x7f\x1b[0m",
}

// everyTextPosition is an expression with s wherever a user may write a text.
func everyTextPosition(s string) string {
	return strings.ReplaceAll(`did(S) || did("a", prop[S] == "x") || did("a", prop.x == S) || did("a", prop.x != S && prop.y in [S, "z"]) || did("a", prop.x.startsWith(S))
		|| did("a", S in prop && prop[S] > 1.0) || attr[S] == "x" || attr[S] > 1.0 || S in attr || attr.x == S || attr.x in [S, ""] || attr.x.contains(S) || attr.x.endsWith(S)
		|| rfm.segment == S || profile.country >= S`, "S", fmt.Sprintf("%q", s))
}

// TestEvilTextsAreFound runs every text in every position against data that holds it.
func TestEvilTextsAreFound(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var histories []History
	var expressions []string
	for _, s := range evilTexts {
		histories = append(histories,
			History{Events: []audience.Event{{Type: s, Time: at}}},
			History{Events: []audience.Event{{Type: "a", Time: at, Texts: map[string]string{s: "x"}}}},
			History{Events: []audience.Event{{Type: "a", Time: at, Texts: map[string]string{"x": s, "y": s}}}},
			History{Events: []audience.Event{{Type: "a", Time: at, Numbers: map[string]float64{s: 2}}}},
			History{Profile: audience.Profile{Texts: map[string]string{s: "x"}}},
			History{Profile: audience.Profile{Texts: map[string]string{"x": s}}},
			History{Profile: audience.Profile{Numbers: map[string]float64{s: 2}}})
		expressions = append(expressions, everyTextPosition(s))
	}
	ids := w.write(histories)
	p := compile(t, expressions...)
	memberships, err := w.agree(p, at, histories, ids, ids[3:9])
	require.NoError(t, err)
	require.GreaterOrEqual(t, memberships, len(histories), "each text is found at least where it stands")
}
