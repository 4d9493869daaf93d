package kmeans_test

import (
	"compress/gzip"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/kmeans"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

var features = []string{kmeans.Recency, kmeans.Frequency, kmeans.Monetary}

// A dataSet reads the purchases of each user from a table of ../shared/data, seen from the repository root.
type dataSet struct {
	file string
	asOf time.Time // end of the data
	read func(row map[string]string) (user string, p rfm.Purchase, ok bool)
}

var cdnow = dataSet{
	file: "cdnow_sample.csv.gz",
	asOf: time.Date(1998, 6, 30, 23, 59, 59, 0, time.UTC),
	read: func(row map[string]string) (string, rfm.Purchase, bool) {
		day, err := time.Parse("20060102", row["date"])
		return row["sample_id"], rfm.Purchase{Time: day, ValueMicros: micros(row["dollars"])}, err == nil
	},
}

// Lines with a customer and a price; cancellations are refunds.
var onlineRetail = dataSet{
	file: "online_retail_2009_2010.csv.gz",
	asOf: time.Date(2010, 11, 30, 23, 59, 59, 0, time.UTC),
	read: func(row map[string]string) (string, rfm.Purchase, bool) {
		at, err := time.Parse(time.DateTime, row["InvoiceDate"])
		quantity, _ := strconv.ParseInt(row["Quantity"], 10, 64)
		value := quantity * micros(row["Price"])
		return row["Customer ID"], rfm.Purchase{Time: at, OrderID: row["Invoice"], ValueMicros: value},
			err == nil && row["Customer ID"] != "" && value != 0
	},
}

func micros(s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(math.Round(f * 1e6))
}

// loaded holds the purchases of the data sets read so far, by file: tests do not run in parallel.
var loaded = map[string]map[string][]rfm.Purchase{}

// purchases are those of each user; the test is skipped where the data are missing.
func (s dataSet) purchases(t testing.TB) map[string][]rfm.Purchase {
	t.Helper()
	if users, ok := loaded[s.file]; ok {
		return users
	}
	root, err := os.Getwd()
	require.NoError(t, err)
	for !exists(filepath.Join(root, "go.mod")) {
		root = filepath.Dir(root)
	}
	path := filepath.Join(root, "..", "shared", "data", s.file)
	if !exists(path) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the data set %s is missing beside the repository", s.file)
		}
		t.Skipf("the data set %s is not beside the repository", s.file)
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	records, err := csv.NewReader(unzipped).ReadAll()
	require.NoError(t, err)

	users := map[string][]rfm.Purchase{}
	row := map[string]string{}
	for _, record := range records[1:] {
		for i, column := range records[0] {
			row[column] = record[i]
		}
		if user, p, ok := s.read(row); ok {
			users[user] = append(users[user], p)
		}
	}
	loaded[s.file] = users
	return users
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// table is recency, frequency and monetary of all users with a purchase until asOf, in the order of their ids.
func table(t testing.TB, purchases map[string][]rfm.Purchase, asOf time.Time) (users []string, values []float64) {
	t.Helper()
	for _, user := range sortedKeys(purchases) {
		if v, ok := (rfm.Config{}).Measure(purchases[user], asOf); ok {
			users = append(users, user)
			values = append(values, float64(v.RecencyDays), float64(v.Frequency), float64(v.MonetaryMicros)/1e6)
		}
	}
	require.NotEmpty(t, users)
	return users, values
}
