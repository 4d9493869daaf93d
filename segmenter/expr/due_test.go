package expr

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// TestDue says for each construct when time alone changes the answer, to the millisecond: the query names that instant, the reference
// evaluator gives another answer then, and the same one before.
func TestDue(t *testing.T) {
	at := time.Date(2026, 3, 18, 12, 0, 0, 0, time.UTC) // a Wednesday
	ago := func(of string, ago time.Duration) audience.Event {
		return audience.Event{Type: of, Time: at.Add(-ago), ValueMicros: 5e6, Texts: map[string]string{"page": of}}
	}
	const day = 24 * time.Hour
	user := History{
		Events: []audience.Event{
			ago("purchase", 50*day), ago("purchase", 29*day), ago("visit", 3*day), ago("visit", 90*time.Minute), ago("cart", 30*time.Minute),
			ago("booking", -2*time.Hour), ago("a", time.Hour), ago("b", 50*time.Minute),
		},
		Pins: []audience.Pin{{Segment: 1, Held: audience.HeldOut, Expires: at.Add(5 * time.Minute), Version: 1}},
	}
	berlin := modelsWith(&RFM{
		PurchaseTypes: []string{"purchase"}, Config: rfm.Config{TimeZone: "Europe/Berlin"},
		Model: rfm.Model{Bins: 3, Recency: rfm.Scale{Descending: true, Bounds: []rfm.Bound{{Value: 30}, {Value: 2}},
			Quantiles: rfm.Quantiles{Values: []int64{5, 30}, Shares: []int{500, 1000}}}},
	})
	elapsed := modelsWith(&RFM{
		PurchaseTypes: []string{"purchase"}, Config: rfm.Config{Recency: rfm.Elapsed, WindowDays: 60},
		Model: rfm.Model{Bins: 3, Recency: rfm.Scale{Descending: true, Bounds: []rfm.Bound{{Value: 30}, {Value: 2}}}},
	})
	w := newWorld(t)
	unpinned := user
	unpinned.Pins = nil
	histories := []History{unpinned, user}
	ids := w.write(histories)
	for _, c := range []struct {
		name, source string
		models       []Scores
		want         time.Duration // after at; 0 is never
	}{
		{"an event leaves a window", `count("purchase", "30d") == 1`, models, day},
		{"of two windows the one it is in", `count("visit", "1h") == 0 && count("visit", "2h") == 1 && count("visit", "30d") == 2`, models, 30 * time.Minute},
		{"a mean, a value, a distinct count", `avg("cart", value, "1h") > 1.0`, models, 30 * time.Minute},
		{"a last value", `last_value("cart", prop.page, "1h") == "cart"`, models, 30 * time.Minute},
		{"an absence is long enough", `!did("cart", "6h")`, models, 5*time.Hour + 30*time.Minute},
		{"an event is no longer in the future", `did("booking")`, models, 2 * time.Hour},
		{"days since reach a number", `days_since("purchase") >= 31`, models, 2 * day},
		{"days since exceed a number", `31.5 < days_since("purchase")`, models, 3 * day},
		{"the next of the days", `days_since("visit") * 2 > 1`, models, day - 90*time.Minute},
		{"the last event is as old as that", `last("visit") > now - duration("2h")`, models, 30 * time.Minute},
		{"and a millisecond older", `now - last("visit") > duration("90m")`, models, time.Millisecond},
		{"an instant of the calendar", `now >= timestamp("2026-03-20T00:00:00Z")`, models, 36 * time.Hour},
		{"times that move alike never meet", `now - duration("1h") > now - duration("2h")`, models, 0},
		{"a time beside itself", `(did("visit") ? now : now) == now`, models, 0},
		{"they part for ever", `now - first("purchase") > duration("1h")`, models, 0},
		{"nothing that time changes", `count("purchase") > 1 && attr.plan == "pro" && first("visit") < last("visit")`, models, 0},
		{"today", `count("visit", "today") > 0`, models, 12 * time.Hour},
		{"today elsewhere", `count("visit", "today in Asia/Kathmandu") > 0`, models, 6*time.Hour + 15*time.Minute},
		{"this week", `count("visit", "this week") > 0`, models, 4*day + 12*time.Hour},
		{"this month, over the change of clocks", `did("cart", "this month in Europe/Berlin")`, models, 13*day + 10*time.Hour},
		{"last month", `did("purchase", "last month")`, models, 13*day + 12*time.Hour},
		{"this year", `did("cart", "this year")`, models, 288*day + 12*time.Hour},
		{"a day of recency", `rfm.recency_days >= 30`, berlin, 11 * time.Hour},
		{"recency crosses a bound", `rfm.r == 1`, berlin, day + 11*time.Hour},
		{"recency reaches a quantile", `percentile(rfm.recency_days) > 0.5`, berlin, 11 * time.Hour},
		{"in elapsed days", `rfm.r == 1`, elapsed, 2 * day},
		{"a purchase leaves the window of RFM", `rfm.frequency > 1.0`, elapsed, 10 * day},
		{"a sequence leaves its window", `sequence(["a", "b"], "2h")`, models, time.Hour},
		{"a step is yet to come", `sequence(["a", "b", "booking"])`, models, 2 * time.Hour},
		{"an absence at the end", `sequence(["a", "b", without("visit", "1h")])`, models, 10 * time.Minute},
		{"an absence that was long enough before", `sequence(["visit", without("visit", "2h")])`, models, 0},
		{"an absence not since an earlier one", `sequence(["visit", without("visit", "2h")], "1d")`, models, 30 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compileAs(t, c.models, func(s *Segment) { s.Number++ }, c.source)
			queried := w.evaluate(p.Query(at))[ids[0]]
			require.Equal(t, queried, w.compute(p, at, ids)[ids[0]])
			due := queried.due
			if c.want == 0 {
				require.Zero(t, due)
				return
			}
			require.Equal(t, at.Add(c.want), due)
			if c.name != "the next of the days" {
				require.NotEqual(t, p.Eval(unpinned, at), p.Eval(unpinned, due), "nothing changes then")
			}
			require.Equal(t, p.Eval(unpinned, at), p.Eval(unpinned, due.Add(-time.Millisecond)))
		})
	}
	t.Run("a pin ends", func(t *testing.T) {
		p := compile(t, `did("purchase", "30d")`)
		require.Equal(t, at.Add(5*time.Minute), w.evaluate(p.Query(at))[ids[1]].due)
		require.NotEqual(t, p.Eval(histories[1], at), p.Eval(histories[1], at.Add(5*time.Minute)))
	})
}
