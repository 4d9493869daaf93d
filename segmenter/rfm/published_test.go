package rfm_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// rPackage is the setting in which the R package's documentation prints its tables.
var rPackage = rfm.Config{Convention: rfm.RFMPackage, SegmentPreset: rfm.PresetRFMPackage, AsOf: "2006-12-31"}

func rPackageUsers(t testing.TB, c rfm.Config) []rfm.Values {
	return measureAll(t, c, purchasesBy(readData(t, "rfm_orders.csv.gz"), "customer_id", func(row map[string]string) rfm.Purchase {
		return rfm.Purchase{Time: date(t, time.DateOnly, row["order_date"]), ValueMicros: toMicros(t, row["revenue"])}
	}))
}

func TestRPackageBounds(t *testing.T) {
	users := rPackageUsers(t, rPackage)
	require.Len(t, users, 995)

	model, err := rPackage.Fit(users)
	require.NoError(t, err)
	require.Equal(t, []float64{115, 181, 297.4, 482}, model.Recency.CutPoints)
	require.Equal(t, []float64{4, 5, 6, 8}, model.Frequency.CutPoints)
	require.Equal(t, []float64{255.8, 382, 506.4, 666}, model.Monetary.CutPoints)
}

func TestRPackageScores(t *testing.T) {
	users := rPackageUsers(t, rPackage)
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

// The summaries that lifetimes and BTYD print: their own code read the same purchases.
func TestCDNOWSummary(t *testing.T) {
	asOf := time.Date(1997, 9, 30, 0, 0, 0, 0, time.UTC)
	users := purchasesBy(readData(t, "cdnow_sample.csv.gz"), "sample_id", func(row map[string]string) rfm.Purchase {
		return rfm.Purchase{Time: date(t, "20060102", row["date"]), ValueMicros: toMicros(t, row["dollars"])}
	})
	require.Len(t, users, 2357)
	repeatsOf := func(id string) rfm.Repeats {
		r, ok := rfm.RepeatsOf(users[strings.Repeat("0", 4-len(id))+id], asOf, time.UTC)
		require.True(t, ok, "customer %s", id)
		return r
	}

	for _, row := range readData(t, "cdnow_sample_summary.csv.gz") {
		r := repeatsOf(row["ID"])
		require.Equal(t, row["frequency"], strconv.FormatInt(r.Frequency, 10), "customer %s", row["ID"])
		require.InDelta(t, number(t, row["recency"]), r.Recency, 0.005001, "customer %s", row["ID"])
		require.InDelta(t, number(t, row["T"]), r.Age, 0.005001, "customer %s", row["ID"])
	}
	for _, row := range readData(t, "cdnow_sample_summary_monetary.csv.gz") {
		r := repeatsOf(row["ID"])
		require.Equal(t, row["x"], strconv.FormatInt(r.Frequency, 10), "customer %s", row["ID"])
		require.InDelta(t, number(t, row["zbar"]), r.Mean, 0.005001, "customer %s", row["ID"])
	}
	until := time.Date(1998, 6, 30, 0, 0, 0, 0, time.UTC)
	for _, row := range readData(t, "cdnow_sample_cbs.csv.gz") {
		r := repeatsOf(row["cust"])
		require.Equal(t, row["x"], strconv.FormatInt(r.Frequency, 10), "customer %s", row["cust"])
		require.InDelta(t, number(t, row["t.x"]), r.Recency, 1e-9, "customer %s", row["cust"])
		require.InDelta(t, number(t, row["T.cal"]), r.Age, 1e-9, "customer %s", row["cust"])
		require.InDelta(t, number(t, row["m.x"]), r.Mean, 1e-9, "customer %s", row["cust"])

		id := strings.Repeat("0", 4-len(row["cust"])) + row["cust"]
		all, ok := rfm.RepeatsOf(users[id], until, time.UTC)
		require.True(t, ok)
		require.Equal(t, row["x.star"], strconv.FormatInt(all.Frequency-r.Frequency, 10), "customer %s", row["cust"])

		// Measure by days agrees: its frequency counts the first day too.
		v, ok := rfm.Config{Frequency: rfm.Days}.Measure(users[id], asOf)
		require.True(t, ok)
		require.Equal(t, r.Frequency+1, v.Frequency, "customer %s", row["cust"])
		require.InDelta(t, r.Age-r.Recency, float64(v.RecencyDays)/7, 1e-9, "customer %s", row["cust"])
	}
}
