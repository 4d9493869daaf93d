package expr

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// The vocabulary of random expressions and histories is small, so that they meet.
var (
	eventTypes = []string{"purchase", "visit", "refund", "quo'te\\"}
	keys       = []string{"category", "price", "vip", "odd {key:String}'"}
	texts      = []string{"", "true", "false", "Furniture", "champions", "Fur", "zürich", "\x00'\\{p0:String}", "5"}
	numbers    = []float64{0, 1, 2, 2.5, -1, 0.1, 0.333333, 100, -0.30000000000000004, 1e15}
	windows    = []string{"1s", "10s", "1m", "1h", "1d", "2d", "1w", "90d", "36500d"}
	micros     = []int64{0, 1, -1, 1_000_000, 2_500_000, -1_000_000, 100_000_000, 333_333, audience.MaxValueMicros}
	countries  = []string{"", "DE", "TR"}
	calendarly = []string{"today", "yesterday in Asia/Kathmandu", "this week", "last week in America/New_York", "this month in America/Sao_Paulo", "last month", "this year in Asia/Kathmandu", "last year"}
	zones      = []string{"", "America/New_York", "Asia/Kathmandu", "America/Sao_Paulo"}
)

// TestQueryEqualsReference is the law: SQL, for everybody and for given users, and the reference evaluator agree on every expression and history.
// KOHORTA_SOAK=1 compares a thousand times as much as usual, KOHORTA_SOAK=20m goes on for that long.
func TestQueryEqualsReference(t *testing.T) {
	duration, _ := time.ParseDuration(os.Getenv("KOHORTA_SOAK"))
	more := 1
	if os.Getenv("KOHORTA_SOAK") == "1" {
		more = 20
	}
	for started, round := time.Now(), 0; round < more || time.Since(started) < duration; round++ {
		compareOn(t, int(started.UnixNano())+round)
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
		program := compileAs(t, modelsWith(aModel(t)), func(s *Segment) {
			if s.Number%2 == 1 { // no segment is before one that it refers to
				s.Group, s.Priority = rapid.SampledFrom([]string{"", "", "tier", "stage"}).Draw(t, "group"), int(s.Number)/rapid.IntRange(1, 3).Draw(t, "even")
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
	user := History{
		Events: []audience.Event{
			event(0, 29), event(time.Hour-time.Millisecond, 100_000), event(time.Hour, 200_000), event(-time.Millisecond, 5),
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
		`!(attr.none != 1) && !(attr.none == 1) && !(attr.none * 1 in [0]) && !(attr.none < "x") && !(last("visit") < now) && !has(attr.none)`,
	}
	w := newWorld(t)
	ids := w.write([]History{user})
	p := compile(t, expressions...)
	members, err := w.agree(p, at, []History{user}, ids, ids)
	require.NoError(t, err)
	require.Equal(t, len(expressions), members, "%v", p.Eval(user, at))
}

// aModel is a random trained RFM model, or none.
func aModel(t *rapid.T) *RFM {
	if rapid.IntRange(0, 9).Draw(t, "untrained") == 0 {
		return nil
	}
	bounds := func(of ...int64) (bounds []rfm.Bound) {
		for range rapid.IntRange(0, 3).Draw(t, "bounds") {
			b := rfm.Bound{Value: rapid.SampledFrom(of).Draw(t, "bound")}
			if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
				b.Key = "user-000100"
			}
			bounds = append(bounds, b)
		}
		return bounds
	}
	config := rfm.Config{
		Frequency:  rapid.SampledFrom([]rfm.FrequencyBy{"", rfm.Days, rfm.Events}).Draw(t, "frequency"),
		Monetary:   rapid.SampledFrom([]rfm.MonetaryBy{"", rfm.Mean}).Draw(t, "monetary"),
		Refunds:    rapid.SampledFrom([]rfm.Refunds{"", rfm.Ignore}).Draw(t, "refunds"),
		Recency:    rapid.SampledFrom([]rfm.RecencyBy{"", rfm.Elapsed}).Draw(t, "recency"),
		WindowDays: rapid.SampledFrom([]int{0, 0, 1, 90}).Draw(t, "window days"),
		TimeZone:   rapid.SampledFrom(zones).Draw(t, "zone"),
	}
	return &RFM{
		PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund", "visit"}, Config: config,
		Model: rfm.Model{
			Bins:      4,
			Recency:   rfm.Scale{Descending: true, Bounds: bounds(0, 1, 2, 30, 5000)},
			Frequency: rfm.Scale{Bounds: bounds(1, 2, 3)},
			Monetary:  rfm.Scale{Bounds: bounds(-1_000_000, 0, 1, 2_500_000)},
			Rules:     rapid.SampledFrom([][]rfm.Rule{nil, {{Segment: "champions", Recency: rfm.Range{3, 4}}, {Segment: "at_risk", Frequency: rfm.Range{1, 2}, Monetary: rfm.Range{2, 4}}}}).Draw(t, "rules"),
		},
	}
}

// distances are lengths of time after which answers change, and a few others.
func distances(t *rapid.T) []time.Duration {
	distances := []time.Duration{24 * time.Hour, 48 * time.Hour, 31 * 24 * time.Hour, 720 * time.Hour, time.Hour, 10 * time.Second,
		3 * time.Hour, 5 * time.Hour, 18*time.Hour + 15*time.Minute, 29 * time.Hour}
	for _, source := range windows[:len(windows)-1] {
		w, _ := parseWindow(source)
		distances = append(distances, time.Duration(w.lengthMillis)*time.Millisecond)
	}
	for range 5 {
		distances = append(distances, time.Duration(rapid.Int64Range(0, 50*dayMillis).Draw(t, "distance"))*time.Millisecond)
	}
	return distances
}

// anExpression is the text of a random condition; before is how many segments in_segment may name.
func anExpression(t *rapid.T, before int) string {
	return author{t, before}.condition(3)
}

// author writes random expressions: every construct of the language, well typed.
type author struct {
	*rapid.T
	segments int
}

func (a author) pick(options ...string) string { return rapid.SampledFrom(options).Draw(a.T, "pick") }

func (a author) condition(depth int) string {
	if depth == 0 {
		return a.leaf(1)
	}
	switch a.pick("leaf", "leaf", "and", "or", "not", "choice", "same", "paren") {
	case "and":
		return fmt.Sprintf("(%s && %s)", a.condition(depth-1), a.condition(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s || %s)", a.condition(depth-1), a.condition(depth-1), a.condition(depth-1))
	case "not":
		return "!" + a.condition(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.condition(depth-1), a.condition(depth-1), a.condition(depth-1))
	case "same":
		// a bare property is no condition beside ==
		return fmt.Sprintf("((%s || false) %s (%s || false))", a.condition(depth-1), a.pick("==", "!="), a.condition(depth-1))
	case "paren":
		return "(" + a.condition(depth-1) + ")"
	default:
		return a.leaf(depth)
	}
}

func (a author) comparison() string { return a.pick("==", "!=", "<", "<=", ">", ">=") }

// leaf is a condition of the user without && and ||.
func (a author) leaf(depth int) string {
	forms := []string{"number", "number", "number", "text", "moment", "span", "did", "did", "sequence", "sequence", "value", "in numbers", "in texts", "match", "has", "key in attr", "flag", "constant", "compared flag"}
	if a.segments > 0 {
		forms = append(forms, "member", "member")
	}
	switch a.pick(forms...) {
	case "number":
		return fmt.Sprintf("(%s %s %s)", a.number(depth), a.comparison(), a.number(depth-1))
	case "text":
		return fmt.Sprintf("(%s %s %s)", a.text(), a.comparison(), a.quoted(texts))
	case "moment":
		return fmt.Sprintf("(%s %s %s)", a.moment(depth), a.comparison(), a.moment(depth-1))
	case "span":
		return fmt.Sprintf("(%s %s %s)", a.span(depth), a.comparison(), a.span(depth-1))
	case "did":
		return a.aggregate("did", true)
	case "sequence":
		return a.sequence()
	case "value":
		return a.aggregate(a.pick("first_value", "last_value"), true, "prop["+a.quoted(keys)+"]")
	case "in numbers":
		return fmt.Sprintf("(%s in [%s])", a.number(depth-1), a.list(a.numberLiteral))
	case "in texts":
		return fmt.Sprintf("(%s in [%s])", a.text(), a.list(func() string { return a.quoted(texts) }))
	case "match":
		return fmt.Sprintf("%s.%s(%s)", a.text(), a.pick("startsWith", "endsWith", "contains"), a.quoted(texts))
	case "has":
		return "has(" + a.pick("attr.price", "attr.category", "rfm.r", "rfm.segment", "rfm.monetary", "profile.country") + ")"
	case "key in attr":
		return fmt.Sprintf("(%s in attr)", a.quoted(keys))
	case "flag":
		return fmt.Sprintf("attr[%s]", a.quoted(keys))
	case "compared flag":
		return fmt.Sprintf("(attr[%s] %s %s)", a.quoted(keys), a.pick("==", "!="), a.pick("true", "false"))
	case "member":
		return fmt.Sprintf(`in_segment("s%d")`, rapid.IntRange(0, a.segments-1).Draw(a.T, "segment"))
	default:
		return a.pick("true", "false")
	}
}

func (a author) quoted(from []string) string { return strconv.Quote(a.pick(from...)) }

func (a author) list(element func() string) string {
	elements := make([]string, rapid.IntRange(0, 3).Draw(a.T, "elements"))
	for i := range elements {
		elements[i] = element()
	}
	return strings.Join(elements, ", ")
}

func (a author) numberLiteral() string {
	x := rapid.SampledFrom(numbers).Draw(a.T, "number")
	if x == float64(int64(x)) && rapid.Bool().Draw(a.T, "int") {
		return strconv.FormatInt(int64(x), 10)
	}
	if rapid.IntRange(0, 4).Draw(a.T, "any") == 0 {
		x = rapid.Float64Range(-1e9, 1e9).Draw(a.T, "float")
	}
	return strconv.FormatFloat(x, 'e', -1, 64)
}

func (a author) number(depth int) string {
	forms := []string{"literal", "count", "sum", "summary", "summary", "count_distinct", "value", "days_since", "score", "cluster", "attr"}
	if depth > 0 {
		forms = append(forms, "arithmetic", "negative", "choice")
	}
	switch a.pick(forms...) {
	case "count":
		return a.aggregate("count", true)
	case "sum":
		return a.aggregate("sum", true)
	case "summary":
		return a.aggregate(a.pick("sum", "avg", "min", "max"), true, a.eventNumber())
	case "count_distinct":
		return a.aggregate("count_distinct", true, a.eventNumber())
	case "value":
		return "(" + a.aggregate(a.pick("first_value", "last_value"), true, a.eventNumber()) + " * 1.0)"
	case "days_since":
		return a.aggregate("days_since", false)
	case "score":
		return "rfm." + a.pick("r", "f", "m", "recency_days", "frequency", "monetary")
	case "cluster":
		return a.pick(`cluster("habits")`, `cluster("untrained")`)
	case "attr":
		// a property needs an operand of known type beside it
		return fmt.Sprintf("(attr[%s] * 1.0)", a.quoted(keys))
	case "arithmetic":
		return fmt.Sprintf("(%s %s %s)", a.number(depth-1), a.pick("+", "-", "*", "/"), a.number(depth-1))
	case "negative":
		return "-(" + a.number(depth-1) + ")"
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.condition(depth-1), a.number(depth-1), a.number(depth-1))
	default:
		return a.numberLiteral()
	}
}

func (a author) text() string {
	return a.pick("rfm.segment", "profile.country", a.aggregate(a.pick("first_value", "last_value"), true, "prop["+a.quoted(keys)+"]"), "attr["+a.quoted(keys)+"]", "attr.category", "attr[\"category\"]")
}

func (a author) moment(depth int) string {
	if depth > 0 && rapid.Bool().Draw(a.T, "shifted") {
		return fmt.Sprintf("(%s %s %s)", a.moment(depth-1), a.pick("+", "-"), a.span(depth-1))
	}
	return a.pick("now", a.aggregate("last", false), a.aggregate("first", false), `timestamp("2026-03-01T00:00:00Z")`, `timestamp("2026-02-28T23:59:59.999+02:00")`)
}

func (a author) span(depth int) string {
	if depth > 0 {
		switch a.pick("literal", "difference", "sum", "negative") {
		case "difference":
			return fmt.Sprintf("(%s - %s)", a.moment(depth-1), a.moment(depth-1))
		case "sum":
			return fmt.Sprintf("(%s + %s)", a.span(depth-1), a.span(depth-1))
		case "negative":
			return "-" + a.span(depth-1)
		}
	}
	return fmt.Sprintf("duration(%q)", a.pick("30d", "1h", "0s", "10s", "1ms", "-1h"))
}

// aggregate is a call of an aggregate in one of its forms.
func (a author) aggregate(function string, windowed bool, of ...string) string {
	args := append([]string{a.quoted(eventTypes)}, of...)
	if windowed && rapid.Bool().Draw(a.T, "windowed") {
		args = append(args, a.window())
	}
	if rapid.Bool().Draw(a.T, "filtered") {
		args = append(args, a.predicate(2))
	}
	return fmt.Sprintf("%s(%s)", function, strings.Join(args, ", "))
}

func (a author) window() string {
	return strconv.Quote(a.pick(slices.Concat(windows, calendarly, []string{"", "all"})...))
}

// eventNumber is a number of an event.
func (a author) eventNumber() string {
	return a.pick("value", "prop["+a.quoted(keys)+"]", "prop.price", "(value * prop.price)", "(value / prop.price)", "2.5")
}

// sequence is steps that often match something.
func (a author) sequence() string {
	var steps []string
	for i := range rapid.IntRange(1, 4).Draw(a.T, "steps") {
		form := a.pick("text", "text", "step", "without")
		if i == 0 && form != "text" {
			form = "step"
		}
		call := []string{a.quoted(eventTypes)}
		if form == "step" && i > 0 && rapid.Bool().Draw(a.T, "bounded") {
			call = append(call, a.quoted(windows))
		}
		if form != "text" && rapid.IntRange(0, 2).Draw(a.T, "filtered") == 0 {
			call = append(call, a.predicate(0))
		}
		switch form {
		case "text":
			steps = append(steps, call[0])
		default:
			steps = append(steps, form+"("+strings.Join(call, ", ")+")")
		}
	}
	if wait := a.pick("", "without(%s, %s)"); wait != "" && !strings.HasPrefix(steps[len(steps)-1], "without") {
		steps = append(steps, fmt.Sprintf(wait, a.quoted(eventTypes), a.quoted(windows)))
	}
	if rapid.Bool().Draw(a.T, "windowed") {
		return fmt.Sprintf("sequence([%s], %s)", strings.Join(steps, ", "), a.window())
	}
	return fmt.Sprintf("sequence([%s])", strings.Join(steps, ", "))
}

// predicate is a condition of an event.
func (a author) predicate(depth int) string {
	prop := "prop[" + a.quoted(keys) + "]"
	forms := []string{"text", "number", "value", "in", "match", "key", "flag"}
	if depth > 0 {
		forms = append(forms, "and", "or", "not", "choice")
	}
	switch a.pick(forms...) {
	case "text":
		return fmt.Sprintf("(%s %s %s)", prop, a.comparison(), a.quoted(texts))
	case "number":
		return fmt.Sprintf("(%s %s %s)", prop, a.comparison(), a.numberLiteral())
	case "value":
		return fmt.Sprintf("(value %s %s %s)", a.pick("* 2.0", "- 1", "/ prop.price", "+ prop.price"), a.comparison(), a.numberLiteral())
	case "in":
		return fmt.Sprintf("(%s in [%s, %s])", prop, a.quoted(texts), a.quoted(texts))
	case "match":
		return fmt.Sprintf("%s.%s(%s)", prop, a.pick("startsWith", "endsWith", "contains"), a.quoted(texts))
	case "key":
		return a.pick("has(prop.price)", "("+a.quoted(keys)+" in prop)")
	case "and":
		return fmt.Sprintf("(%s && %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "or":
		return fmt.Sprintf("(%s || %s)", a.predicate(depth-1), a.predicate(depth-1))
	case "not":
		return "!" + a.predicate(depth-1)
	case "choice":
		return fmt.Sprintf("(%s ? %s : %s)", a.predicate(depth-1), a.predicate(depth-1), a.predicate(depth-1))
	default:
		return prop
	}
}

// aHistory is a random user as of a time: nothing at all, or events around the borders of windows, before 1970's first second and after now.
func aHistory(t *rapid.T, at time.Time) (h History) {
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		e := audience.Event{
			Type:        rapid.SampledFrom(eventTypes).Draw(t, "type"),
			Time:        aTime(t, at),
			ValueMicros: rapid.SampledFrom(micros).Draw(t, "micros"),
		}
		e.Texts, e.Numbers = properties(t)
		h.Events = append(h.Events, e)
	}
	h.Profile.Country = rapid.SampledFrom(countries).Draw(t, "country")
	h.Profile.Texts, h.Profile.Numbers = properties(t)
	for segment := range audience.Number(3) {
		if rapid.IntRange(0, 9).Draw(t, "pinned") == 0 {
			h.Pins = append(h.Pins, audience.Pin{
				Segment: 1 + 2*segment, Held: rapid.SampledFrom([]audience.Held{audience.HeldIn, audience.HeldOut, audience.Released}).Draw(t, "held"),
				Expires: rapid.SampledFrom([]time.Time{{}, {}, at, at.Add(time.Millisecond), at.Add(time.Hour)}).Draw(t, "expires"),
				Version: rapid.Uint64Range(1, 9).Draw(t, "version"),
			})
		}
	}
	h.Scores = map[audience.ModelID]audience.Score{}
	if rapid.Bool().Draw(t, "clustered") {
		h.Scores["habits"] = audience.Score{Label: uint16(rapid.IntRange(0, 3).Draw(t, "label"))}
	}
	return h
}

func aTime(t *rapid.T, at time.Time) time.Time {
	shift := time.Duration(rapid.IntRange(-1, 1).Draw(t, "ms")) * time.Millisecond
	switch rapid.IntRange(0, 3).Draw(t, "when") {
	case 0:
		return at.Add(shift)
	case 1:
		w, _ := parseWindow(rapid.SampledFrom(windows[:len(windows)-1]).Draw(t, "window"))
		return at.Add(shift - time.Duration(w.lengthMillis)*time.Millisecond)
	case 2:
		return at.Add(-time.Duration(rapid.Int64Range(0, 100*dayMillis).Draw(t, "ago")) * time.Millisecond)
	default:
		return rapid.SampledFrom([]time.Time{audience.EarliestEvent, at.Add(time.Hour), at.AddDate(1, 0, 0)}).Draw(t, "far")
	}
}

// properties are texts and numbers under the same few keys, each key in one of them at most.
func properties(t *rapid.T) (map[string]string, map[string]float64) {
	asText, asNumber := map[string]string{}, map[string]float64{}
	for _, key := range keys {
		switch rapid.IntRange(0, 3).Draw(t, "property") {
		case 1:
			asNumber[key] = rapid.SampledFrom(numbers).Draw(t, "number")
		case 2, 3:
			asText[key] = rapid.SampledFrom(texts).Draw(t, "text")
		}
	}
	return asText, asNumber
}
