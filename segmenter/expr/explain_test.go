package expr

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestExplain(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event := func(id, of string, ago time.Duration) audience.Event {
		return audience.Event{ID: id, Type: of, Time: at.Add(-ago), ValueMicros: 5e6}
	}
	user := History{
		Events: []audience.Event{
			event("p1", "purchase", 100*24*time.Hour), event("p2", "purchase", 3*time.Hour), event("p3", "purchase", 2*time.Hour),
			event("v1", "visit", 4*time.Hour), event("c1", "cart", 3*time.Hour),
		},
		Profile: audience.Profile{Texts: map[string]string{"plan": "free"}},
	}
	p := compileAs(t, models, func(s *Segment) {
		if s.ID != "s0" {
			s.Group, s.Priority = "tier", int(s.Number)
		}
	},
		`count("purchase", "30d") >= 2 && !(attr.plan == "free" || did("visit", "1d")) && in_segment("s1")`,
		`sequence(["visit", step("cart", "1h"), without("purchase"), "order"], "7d") || rfm.recency_days == 0`,
		`sum("purchase") > 1.0`)

	require.Equal(t, Explanation{
		Clauses: []ExplainedClause{
			{Clause{`count("purchase", "30d") >= 2`, 1, 1}, true, []audience.ExplainedCondition{
				{Text: `count("purchase", "30d") >= 2`, Holds: true, Values: []audience.ExplainedValue{{Text: `count("purchase", "30d")`, Value: "2", Events: []string{"p3", "p2"}}}},
			}},
			{Clause{`!(attr.plan == "free" || did("visit", "1d"))`, 1, 34}, false, []audience.ExplainedCondition{
				{Text: `attr["plan"] == "free"`, Holds: true, Values: []audience.ExplainedValue{{Text: `attr["plan"]`, Value: `"free"`, Events: nil}}},
				{Text: `did("visit", "1d")`, Holds: true, Values: []audience.ExplainedValue{{Text: `count("visit", "1d")`, Value: "1", Events: []string{"v1"}}}},
			}},
			{Clause{`in_segment("s1")`, 1, 82}, true, []audience.ExplainedCondition{
				{Text: `in_segment("s1")`, Holds: true, Values: []audience.ExplainedValue{{Text: `in_segment("s1")`, Value: "true", Events: nil}}},
			}},
		},
	}, p.Explain("s0", user, at))

	sequence := p.Explain("s1", user, at)
	require.True(t, sequence.Member)
	require.Equal(t, []audience.ExplainedCondition{{
		Text: `sequence([step("visit"), step("cart", "1h"), without("purchase"), step("order")], "7d")`, Holds: false,
		Values: []audience.ExplainedValue{{Text: `sequence([step("visit"), step("cart", "1h"), without("purchase"), step("order")], "7d")`, Value: "2 of 3 steps", Events: []string{"c1", "v1"}}},
	}}, sequence.Clauses[0].Conditions)
	require.Equal(t, []audience.ExplainedValue{{Text: "rfm.recency_days", Value: "0", Events: []string{"p3", "p2", "p1"}}}, sequence.Clauses[1].Conditions[0].Values)

	outranked := p.Explain("s2", user, at)
	require.Equal(t, [3]any{false, true, audience.SegmentID("s1")}, [3]any{outranked.Member, outranked.Holds, outranked.Instead})
	require.Nil(t, outranked.Pin)

	user.Pins = []audience.Pin{{Segment: 3, Held: audience.HeldIn, Reason: "by hand", Version: 1}}
	moved := p.Explain("s2", user, at)
	require.True(t, moved.Member)
	require.Equal(t, "by hand", moved.Pin.Reason)
	left := p.Explain("s1", user, at)
	require.Equal(t, [3]any{false, true, audience.SegmentID("s2")}, [3]any{left.Member, left.Holds, left.Instead})
	require.Equal(t, "by hand", left.Pin.Reason)
}

// TestExplanationsSayWhatHolds: the text of each condition, read as an expression, holds when the explanation says so, and the explanation of
// each segment says what evaluation does.
func TestExplanationsSayWhatHolds(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		h := aHistory(t, at)
		p := compileAs(t, modelsWith(aModel(t)), func(*Segment) {}, anExpression(t, 0), anExpression(t, 1))
		complete := p.complete(h, at)
		for _, u := range p.units {
			x := p.Explain(u.ID, h, at)
			require.Equal(t, complete.Memberships[u.ID], x.Member)
			for _, clause := range x.Clauses {
				for _, condition := range clause.Conditions {
					read, err := Parse(condition.Text)
					require.NoError(t, err)
					require.Equal(t, condition.Holds, read.Eval(complete, at), condition.Text)
				}
			}
		}
	})
}
