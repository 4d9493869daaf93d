package rfm_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// rPackage is the setting in which the R package's documentation prints its tables.
var rPackage = rfm.Config{Convention: rfm.RFMPackage, SegmentPreset: rfm.PresetRFMPackage}

func rPackageUsers(t testing.TB) []rfm.Values {
	orders := purchasesBy(readData(t, "rfm_orders.csv.gz"), "customer_id", func(row map[string]string) rfm.Purchase {
		return rfm.Purchase{Time: date(t, time.DateOnly, row["order_date"]), ValueMicros: toMicros(t, row["revenue"])}
	})
	return measureAll(rPackage, orders, time.Date(2006, 12, 31, 0, 0, 0, 0, time.UTC))
}

func TestRPackageBounds(t *testing.T) {
	users := rPackageUsers(t)
	require.Len(t, users, 995)

	model, err := rPackage.Fit(users)
	require.NoError(t, err)
	require.Equal(t, []float64{115, 181, 297.4, 482}, model.Recency.CutPoints)
	require.Equal(t, []float64{4, 5, 6, 8}, model.Frequency.CutPoints)
	require.Equal(t, []float64{255.8, 382, 506.4, 666}, model.Monetary.CutPoints)
}

func TestRPackageScores(t *testing.T) {
	users := rPackageUsers(t)
	model, err := rPackage.Fit(users)
	require.NoError(t, err)
	valuesOf := map[string]rfm.Values{}
	for _, v := range users {
		valuesOf[v.Key] = v
	}

	expected := readData(t, "rfm_orders_expected.csv")
	require.Len(t, expected, 25)
	for _, row := range expected {
		t.Run(row["customer_id"], func(t *testing.T) {
			v, ok := valuesOf[row["customer_id"]]
			require.True(t, ok)
			require.Equal(t, row["recency_days"], strconv.FormatInt(v.RecencyDays, 10))
			require.Equal(t, row["transaction_count"], strconv.FormatInt(v.Frequency, 10))
			require.Equal(t, toMicros(t, row["amount"]), v.MonetaryMicros)

			s := model.Score(v)
			require.Equal(t, row["recency_score"], strconv.Itoa(s.R))
			require.Equal(t, row["frequency_score"], strconv.Itoa(s.F))
			require.Equal(t, row["monetary_score"], strconv.Itoa(s.M))
			require.Equal(t, row["rfm_score"], strconv.Itoa(100*s.R+10*s.F+s.M))
			require.Equal(t, snakeCase(row["segment"]), s.Segment)
		})
	}
}

func snakeCase(name string) string {
	return strings.NewReplacer("'", "", " ", "_").Replace(strings.ToLower(name))
}

// TestCDNOWSummary measures what the summaries of lifetimes and BTYD print, whose own code read the same purchases: x, the days
// with a purchase after the first such day; t_x and T, the weeks from the first day to the last of them and to as_of; and the
// mean value of those days. A window of T begins just after the first day.
func TestCDNOWSummary(t *testing.T) {
	asOf, later := time.Date(1997, 9, 30, 0, 0, 0, 0, time.UTC), time.Date(1998, 6, 30, 0, 0, 0, 0, time.UTC)
	users := purchasesBy(readData(t, "cdnow_sample.csv.gz"), "sample_id", func(row map[string]string) rfm.Purchase {
		return rfm.Purchase{Time: date(t, "20060102", row["date"]), ValueMicros: toMicros(t, row["dollars"])}
	})
	require.Len(t, users, 2357)
	purchasesOf := func(id string) []rfm.Purchase { return users[strings.Repeat("0", 4-len(id))+id] }
	days := func(weeks string) int { return int(math.Round(number(t, weeks) * 7)) }
	ageDays := map[string]int{} // T of each customer

	for _, row := range readData(t, "cdnow_sample_summary.csv.gz") {
		ageDays[row["ID"]] = days(row["T"])
		v, ok := rfm.Config{Frequency: rfm.Days}.Measure(purchasesOf(row["ID"]), asOf)
		require.True(t, ok, "customer %s", row["ID"])
		require.Equal(t, row["frequency"], strconv.FormatInt(v.Frequency-1, 10), "customer %s", row["ID"])
		require.Equal(t, int64(days(row["T"])-days(row["recency"])), v.RecencyDays, "customer %s", row["ID"])
	}
	repeatsOf := func(id string) rfm.Values { // zero without a repeat
		v, _ := rfm.Config{Frequency: rfm.Days, Monetary: rfm.Mean, WindowDays: ageDays[id]}.Measure(purchasesOf(id), asOf)
		return v
	}
	for _, row := range readData(t, "cdnow_sample_summary_monetary.csv.gz") {
		v := repeatsOf(row["ID"])
		require.Equal(t, row["x"], strconv.FormatInt(v.Frequency, 10), "customer %s", row["ID"])
		require.InDelta(t, number(t, row["zbar"]), float64(v.MonetaryMicros)/1e6, 0.005001, "customer %s", row["ID"])
	}
	for _, row := range readData(t, "cdnow_sample_cbs.csv.gz") {
		v := repeatsOf(row["cust"])
		require.Equal(t, days(row["T.cal"]), ageDays[row["cust"]], "customer %s", row["cust"])
		require.Equal(t, row["x"], strconv.FormatInt(v.Frequency, 10), "customer %s", row["cust"])
		require.InDelta(t, number(t, row["m.x"]), float64(v.MonetaryMicros)/1e6, 1e-6, "customer %s", row["cust"])
		if v.Frequency > 0 {
			require.Equal(t, int64(days(row["T.cal"])-days(row["t.x"])), v.RecencyDays, "customer %s", row["cust"])
		}
		all, ok := rfm.Config{Frequency: rfm.Days}.Measure(purchasesOf(row["cust"]), later)
		require.True(t, ok)
		require.Equal(t, row["x.star"], strconv.FormatInt(all.Frequency-1-v.Frequency, 10), "customer %s", row["cust"])
	}
}
