package rfm_test

import (
	"compress/gzip"
	"encoding/csv"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// readData reads a table of ../shared/data, seen from the repository root, as one map of column to value for each row.
func readData(t testing.TB, name string) []map[string]string {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for !exists(filepath.Join(root, "go.mod")) {
		root = filepath.Dir(root)
	}
	path := filepath.Join(root, "..", "shared", "data", name)
	if !exists(path) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the data set %s is missing beside the repository", name)
		}
		t.Skipf("the data set %s is not beside the repository", name)
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		r, err = gzip.NewReader(file)
		require.NoError(t, err)
	}
	records, err := csv.NewReader(r).ReadAll()
	require.NoError(t, err)
	rows := make([]map[string]string, 0, len(records)-1)
	for _, record := range records[1:] {
		row := make(map[string]string, len(record))
		for i, column := range records[0] {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func number(t testing.TB, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return f
}

func toMicros(t testing.TB, s string) int64 { return int64(math.Round(number(t, s) * 1e6)) }

func date(t testing.TB, layout, s string) time.Time {
	t.Helper()
	d, err := time.Parse(layout, s)
	require.NoError(t, err)
	return d
}

// purchasesBy groups the rows of a data set into the purchases of each user.
func purchasesBy(rows []map[string]string, user string, purchase func(map[string]string) rfm.Purchase) map[string][]rfm.Purchase {
	users := map[string][]rfm.Purchase{}
	for _, row := range rows {
		users[row[user]] = append(users[row[user]], purchase(row))
	}
	return users
}

// measureAll measures every user.
func measureAll(c rfm.Config, users map[string][]rfm.Purchase, asOf time.Time) []rfm.Values {
	var all []rfm.Values
	for user, purchases := range users {
		if v, ok := c.Measure(purchases, asOf); ok {
			v.Key = user
			all = append(all, v)
		}
	}
	return all
}
