package segmenter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// benchEvents and benchUsers are the history of a benchmark: 20 events a user. With KOHORTA_BENCH=1 it is 20 M events, else 400,000.
func benchEvents() int {
	if os.Getenv("KOHORTA_BENCH") == "1" {
		return 20_000_000
	}
	return 400_000
}

func benchUsers() int { return benchEvents() / 20 }

// benchNow is the instant that the benchmarks' history of 24 months ends at.
var benchNow = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// fill makes a history inside ClickHouse, one part a month: 12 % purchases, in orders of two lines, and five other types.
func (h house) fill(b *testing.B, events, users int) {
	b.Helper()
	const months = 24
	for month := range months {
		require.NoError(b, h.store.Exec(b.Context(), audience.Query{SQL: `
INSERT INTO events (user_id, event_id, type, time, value_micros, texts, numbers)
WITH intDiv(number, 2) AS pair, cityHash64(pair) AS h, cityHash64(pair, 'type') % 100 AS kind, kind < 12 AS bought
SELECT concat('user-', leftPad(toString(h % {users:UInt64}), 7, '0')), concat('event-', toString(number)),
    multiIf(bought, 'purchase', kind < 52, 'visit', kind < 77, 'view', kind < 87, 'search', kind < 95, 'cart', 'email_open'),
    fromUnixTimestamp64Milli({month:Int64} + toInt64(cityHash64(pair, 'time') % (28 * 86400000))),
    if(bought, (1 + cityHash64(number, 'value') % 500) * 1000000, 0),
    if(bought, map('order_id', concat('order-', toString(pair)), 'category', concat('category-', toString(number % 40))),
               map('page', concat('page-', toString(h % 200)))),
    if(bought, map('quantity', toFloat64(1 + number % 5)), map())
FROM numbers({from:UInt64}, {count:UInt64})`, Params: map[string]any{
			"users": uint64(users), "month": benchNow.AddDate(0, month-months, 0).UnixMilli(),
			"from": uint64(month * (events / months)), "count": uint64(events / months),
		}}))
	}
	for _, statement := range []string{
		"INSERT INTO users SELECT DISTINCT user_id FROM events",
		`INSERT INTO profiles (user_id, version, country, update_time)
		 SELECT user_id, 1, ['DE', 'FR', 'PL', 'US'][1 + cityHash64(user_id) % 4], now64(3) FROM users`,
	} {
		require.NoError(b, h.store.Exec(b.Context(), audience.Query{SQL: statement}))
	}
}

// seconds runs a query whose answer is one row or none, and says how long that took.
func (h house) seconds(b *testing.B, q audience.Query) float64 {
	b.Helper()
	began := time.Now()
	require.NoError(b, h.store.Select(b.Context(), q, func(func(...any) error) error { return nil }))
	return time.Since(began).Seconds()
}

// watched is a database that remembers what it was asked for.
type watched struct {
	segmenter.Database
	statements []audience.Query
}

func (w *watched) Exec(ctx context.Context, q audience.Query) error {
	w.statements = append(w.statements, q)
	return w.Database.Exec(ctx, q)
}

func (w *watched) begins(b *testing.B, with string) audience.Query {
	b.Helper()
	for _, q := range w.statements {
		if strings.HasPrefix(strings.TrimSpace(q.SQL), with) {
			return q
		}
	}
	require.FailNow(b, "no statement begins with "+with)
	return audience.Query{}
}

var rfmBench = audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{AsOf: benchNow}}

// BenchmarkRFM measures recency, frequency and monetary of all users beside ClickHouse's bare scan of the columns this
// takes, in turn within one run: "measure/scan" is the query alone, "train/scan" everything from measuring to published
// scores. The scan reads all events, RFM the purchases, because the type leads the key.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run - -bench RFM -benchtime 5x
func BenchmarkRFM(b *testing.B) {
	h := newHouse(b)
	h.fill(b, benchEvents(), benchUsers())
	h.train(b, rfmBench)
	database := &watched{Database: h.store}
	trainer := segmenter.New(segmenter.Deps{Database: database, Log: h.store, Projection: h.live,
		Catalogue: warehouse.Catalogue{Store: h.store}, Logger: h.Logger, Now: time.Now})
	model, err := h.store.Models().Get(b.Context(), "rfm")
	require.NoError(b, err)

	var scans, measures, trains []float64
	for b.Loop() {
		scans = append(scans, h.seconds(b, audience.Query{SQL: `
SELECT countIf(type = 'purchase'), sum(cityHash64(user_id)), max(time), sum(value_micros), sum(order_hash) FROM events`}))
		began := time.Now()
		_, err := trainer.Train(b.Context(), model, "run", quiet)
		require.NoError(b, err)
		trains = append(trains, time.Since(began).Seconds())

		measure := database.begins(b, "CREATE TABLE staging_")
		measure.SQL = "SELECT count(), sum(recency_days), sum(frequency), sum(monetary_micros) FROM (" +
			measure.SQL[strings.Index(measure.SQL, "SELECT"):] + ")"
		measures = append(measures, h.seconds(b, measure))
	}
	scan := median(scans)
	b.ReportMetric(scan, "scan-s")
	b.ReportMetric(median(measures)/scan, "measure/scan")
	b.ReportMetric(median(trains)/scan, "train/scan")
	b.ReportMetric(float64(benchUsers())/median(trains), "users/s")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// mix is the i-th of any number of different expressions of the usual kinds.
func mix(i int) string {
	days := []int{7, 14, 30, 60, 90, 120, 180, 365}[i/10%8]
	n := 1 + i/80
	return []string{
		fmt.Sprintf(`count("purchase", "%dd") > %d`, days, n),
		fmt.Sprintf(`did("visit", "%dd") && count("purchase", "%dd") < %d`, days, days, n),
		fmt.Sprintf(`sum("purchase", "%dd") > %d.0`, days, 100*n),
		fmt.Sprintf(`days_since("purchase") > %d`, days+n),
		fmt.Sprintf(`rfm.r >= %d && rfm.m >= 3 && !did("email_open", "%dd")`, 1+i/10%5, days+n),
		fmt.Sprintf(`count("purchase", "%dd", prop.category == "category-%d") >= 1`, days, i%40),
		fmt.Sprintf(`count("view", "%dd", prop.page == "page-%d") >= %d`, days, i%200, n),
		fmt.Sprintf(`profile.country == "DE" && did("cart", "%dd") && rfm.f > %d`, days, n),
		fmt.Sprintf(`rfm.segment in ["champions", "loyal"] && count("search", "%dd") >= %d`, days, n),
		fmt.Sprintf(`in_segment("s%d") && !in_segment("s%d")`, i-9, i-8),
	}[i%10]
}

// BenchmarkEvaluateQuery evaluates 1, 50 and 200 segments over everybody, each set in one query: "50/one" is the time of 50
// to the mean time of one, over one of each kind that refers to no other, with windows of a week, two months and a year.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run - -bench EvaluateQuery -benchtime 3x
func BenchmarkEvaluateQuery(b *testing.B) {
	h := newHouse(b)
	h.fill(b, benchEvents(), benchUsers())
	version := h.train(b, rfmBench)
	fitted := expr.RFM{PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund"}}
	require.NoError(b, json.Unmarshal([]byte(version.Fitted), &fitted.Model))
	scores := []expr.Scores{{Model: "rfm", Kind: audience.ModelRFM, Number: version.Model, Version: version.Version, RFM: &fitted}}
	query := func(from, to int) audience.Query {
		var segments []expr.Segment
		for i := from; i < to; i++ {
			segments = append(segments, expr.Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i)), Number: audience.Number(i + 1), Expression: mix(i)})
		}
		program, err := expr.Compile(segments, scores)
		require.NoError(b, err)
		q := program.Query(benchNow)
		q.SQL = "SELECT count(), sum(length(segments)) FROM (" + q.SQL + ")"
		return q
	}
	singles := []int{}
	for _, window := range []int{0, 3, 7} {
		for kind := range 9 {
			singles = append(singles, 10*window+kind)
		}
	}
	one, took := 0.0, map[int][]float64{}
	for b.Loop() {
		for _, i := range singles {
			one += h.seconds(b, query(i, i+1)) / float64(len(singles))
		}
		for _, n := range []int{50, 200} {
			took[n] = append(took[n], h.seconds(b, query(0, n)))
		}
	}
	one /= float64(b.N)
	b.ReportMetric(one, "one-s")
	b.ReportMetric(median(took[50])/one, "50/one")
	b.ReportMetric(median(took[200])/one, "200/one")
}

// BenchmarkEvaluateSome evaluates 500 users, as many as a step of the live loop has at 2,000 events a second, log and
// projection included, over 20 M events: "more-users" is that to what the same costs over 2 M events of a tenth of the users,
// "longer-histories" to 2 M events of the same users, who have a tenth of the history each.
//
//	KOHORTA_BENCH=1 go test ./segmenter -run '^$' -bench EvaluateSome -benchtime 20x
func BenchmarkEvaluateSome(b *testing.B) {
	const asked = 500
	events, users := benchEvents(), benchUsers()
	houses := []*struct {
		house
		events, users int
		took          []float64
	}{{events: events, users: users}, {events: events / 10, users: users / 10}, {events: events / 10, users: users}}
	for _, h := range houses {
		h.house = newHouse(b)
		h.fill(b, h.events, h.users)
		h.rest(b)
		h.train(b, rfmBench)
		h.createMix(b, 50)
		require.NoError(b, h.Rebuild(b.Context()))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		for _, h := range houses {
			some := make([]audience.UserID, asked)
			for i := range some {
				some[i] = audience.UserID(fmt.Sprintf("user-%07d", random.IntN(h.users)))
			}
			began := time.Now()
			_, err := h.Evaluate(b.Context(), segmenter.SortUsers(some), benchNow, "bench", quiet)
			require.NoError(b, err)
			h.took = append(h.took, time.Since(began).Seconds())
		}
	}
	b.ReportMetric(1000*median(houses[0].took), "ms")
	b.ReportMetric(median(houses[0].took)/median(houses[1].took), "more-users")
	b.ReportMetric(median(houses[0].took)/median(houses[2].took), "longer-histories")
}

// createMix creates the segments s0, s1, … of the mix.
func (h house) createMix(b *testing.B, segments int) {
	b.Helper()
	for i := range segments {
		_, err := h.store.Segments().Create(b.Context(), audience.Segment{ID: audience.SegmentID(fmt.Sprintf("s%d", i)), Expression: mix(i)})
		require.NoError(b, err)
	}
}

// rest merges what is read by user, as it is a day after such an import.
func (h house) rest(b *testing.B) {
	b.Helper()
	for _, table := range []string{"events_by_user", "profiles", "users"} {
		require.NoError(b, h.store.Exec(b.Context(), audience.Query{SQL: "OPTIMIZE TABLE " + table + " FINAL"}))
	}
}
