package expr

import (
	"flag"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

// The values of random events, in millionths.
var micros = []int64{0, 1, -1, 1_000_000, 2_500_000, -1_000_000, 100_000_000, 333_333, audience.MaxValueMicros}

// Without a soak, random cases are the same ones each time: a new difference is then due to what was changed.
func init() {
	if os.Getenv("KOHORTA_SOAK") == "" {
		_ = flag.Set("rapid.seed", "20261121") // the flag is there
	}
}

// TestQueryLaw is the law: SQL, for everybody and for given users, and the reference evaluator agree on every expression and history.
// KOHORTA_SOAK=1 compares a thousand times as much as usual, KOHORTA_SOAK=20m goes on for that long.
func TestQueryLaw(t *testing.T) {
	duration, _ := time.ParseDuration(os.Getenv("KOHORTA_SOAK"))
	more := 1
	if os.Getenv("KOHORTA_SOAK") == "1" {
		more = 20
	}
	for started, round := time.Now(), 0; round < more || time.Since(started) < duration; round++ {
		seed := round // a test repeats, a soak goes on to what was never tried
		if os.Getenv("KOHORTA_SOAK") != "" {
			seed += int(started.UnixNano())
		}
		compareOn(t, seed)
	}
}

// compareOn writes random histories around one instant, then compares random expressions on all of them, at that instant and others.
func compareOn(t *testing.T, seed int) {
	const users, segments, asked = 250, 6, 20
	w := newWorld(t)
	instant := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	generator := rapid.Custom(func(t *rapid.T) History { return aHistory(t, instant) })
	histories := make([]History, users)
	for i := range histories {
		histories[i] = generator.Example(seed + i)
	}
	ids := w.write(histories)

	compared, held := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		at := instant.Add(rapid.SampledFrom([]time.Duration{0, 0, 0, -1, 1, 999}).Draw(t, "ms") * time.Millisecond)
		at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, -1, 30}).Draw(t, "days")) * 24 * time.Hour)
		var expressions []string
		for i := range segments {
			expressions = append(expressions, anExpression(t, i))
		}
		from := rapid.IntRange(0, users-asked).Draw(t, "from")
		even := rapid.IntRange(1, 3).Draw(t, "even")
		program := compileAs(t, modelsWith(aModel(t)), func(s *Segment) {
			if s.Number%2 == 1 { // priorities rise with the number: no segment is before one that it refers to
				s.Group, s.Priority = rapid.SampledFrom([]string{"", "", "tier", "stage"}).Draw(t, "group"), int(s.Number)/even
			}
		}, expressions...)
		members, err := w.agree(program, at, histories, ids, ids[from:from+asked], distances(t)...)
		if err != nil {
			t.Fatal(err)
		}
		compared += users * segments
		held += members
	})
	t.Logf("%d cases of an expression and a history, of which %d hold", compared, held)
}

// TestExactValues are cases that random ones meet rarely: each expression holds of the user, in SQL and in the reference.
func TestExactValues(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
	event := func(ago time.Duration, micros int64) audience.Event {
		return audience.Event{Type: "purchase", Time: at.Add(-ago), ValueMicros: micros}
	}
	with := func(e audience.Event, texts map[string]string, numbers map[string]float64) audience.Event {
		e.Texts, e.Numbers = texts, numbers
		return e
	}
	user := History{
		Events: []audience.Event{
			with(event(0, 29), map[string]string{"mixed": ""}, nil), with(event(time.Hour-time.Millisecond, 100_000), nil, map[string]float64{"mixed": 0}), event(time.Hour, 200_000), event(-time.Millisecond, 5),
			{Type: "booking", Time: audience.EarliestEvent, ValueMicros: math.MaxInt64}, {Type: "booking", Time: audience.EarliestEvent, ValueMicros: -math.MaxInt64},
		},
		Profile: audience.Profile{Numbers: map[string]float64{"zero": 0, "tenth": 0.1, "huge": math.MaxFloat64, "tiny": math.SmallestNonzeroFloat64}},
	}
	expressions := []string{
		`count("purchase", "1h") == 2 && count("purchase", "3600s") == 2 && count("purchase") == 3`,
		`sum("purchase", "1s") == 2.9e-5 && sum("purchase", "1h") == 0.100029 && sum("purchase") == 0.300029`,
		`sum("booking") == 0.0 && first("booking") == timestamp("1970-01-01T00:00:00Z") && count("booking", "36500d") == 2`,
		`last("purchase") == now && now == timestamp("2026-03-01T12:00:00.123Z") && days_since("booking") == 20513`,
		`now - first("purchase") == duration("1h") && now - duration("1ms") < last("purchase")`,
		`(attr.zero * -1.0) in [0] && attr.zero in [-0.0] && attr.zero * -1.0 == 0`,
		`attr.tenth + 0.2 == 0.30000000000000004 && attr.tenth + 0.2 != 0.3 && attr.tiny > 0 && attr.huge * 10.0 > attr.huge * 1.0`,
		`1 / attr.zero > 1e300 && !(attr.zero / 0 == attr.zero * 1) && !(attr.zero / 0 != 0) && 3 / 2 == 1.5`,
		`rfm.recency_days == 0 && rfm.frequency == 3 && rfm.monetary == 0.300029 && rfm.segment == "champions" && rfm.r - -1 == 4`,
		`percentile(rfm.monetary) == 0.251 && !(percentile(rfm.frequency) >= 0.0) && percentile(rfm.monetary) in [0.251]`,
		`count_distinct("purchase", prop.mixed) == 2 && count_distinct("purchase", prop.mixed, "1s") == 1`,
		`!(attr.none != 1) && !(attr.none == 1) && !(attr.none * 1 in [0]) && !(attr.none < "x") && !(last("visit") < now) && !has(attr.none)`,
	}
	w := newWorld(t)
	ids := w.write([]History{user})
	p := compile(t, expressions...)
	members, err := w.agree(p, at, []History{user}, ids, ids)
	require.NoError(t, err)
	require.Equal(t, len(expressions), members, "%v", p.Eval(user, at))
}
