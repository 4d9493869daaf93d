package tabular_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/tabular"
)

var simple = tabular.Mapping{
	User: "who", EventID: "id", Time: "when", Value: "amount",
	Texts: map[string]string{"category": "category"}, Numbers: map[string]string{"quantity": "quantity"},
}

const header = "who,id,when,amount,category,quantity\n"

func read(t *testing.T, name, text string, m tabular.Mapping) []tabular.Row {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	r, err := tabular.Open(file, m)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var rows []tabular.Row
	for row, err := range r.Rows() {
		require.NoError(t, err)
		rows = append(rows, row)
	}
	require.Equal(t, r.Size, r.Progress(), "the whole file is accounted for")
	return rows
}

func TestRowBecomesEvent(t *testing.T) {
	want := audience.Event{
		User: "u1", ID: "e1", Type: "purchase", Time: time.Date(2026, 3, 29, 10, 0, 0, 0, time.UTC), ValueMicros: 9_990_000,
		Texts: map[string]string{"category": "Chairs, soft"}, Numbers: map[string]float64{"quantity": 2},
	}
	csv := header + `u1,e1,2026-03-29 10:00:00,9.99,"Chairs, soft",2` + "\n"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(csv))
	require.NoError(t, err)
	require.NoError(t, z.Close())

	for name, file := range map[string]string{
		"rows.csv":    csv,
		"bom.csv":     "\xef\xbb\xbf" + csv,
		"rows.csv.gz": zipped.String(),
		"rows.ndjson": `{"who":"u1","id":"e1","when":"2026-03-29T12:00:00+02:00","amount":9.99,"category":"Chairs, soft","quantity":2}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, []tabular.Row{{Line: map[bool]int{true: 1, false: 2}[name == "rows.ndjson"], Event: want}}, read(t, name, file, simple))
		})
	}
}

func TestRefusedRowsNameLineAndField(t *testing.T) {
	for name, test := range map[string]struct{ row, field string }{
		"no user":             {",e1,2026-01-01,1,a,1", "user_id"},
		"no event id":         {"u,,2026-01-01,1,a,1", "event_id"},
		"year 9999":           {"u,e,9999-01-01,1,a,1", "time"},
		"before 1970":         {"u,e,1969-12-31,1,a,1", "time"},
		"no time":             {"u,e,soon,1,a,1", "time"},
		"NaN":                 {"u,e,2026-01-01,NaN,a,1", "value"},
		"infinite":            {"u,e,2026-01-01,1,a,Inf", "numbers.quantity"},
		"too much":            {"u,e,2026-01-01,1e30,a,1", "value"},
		"invalid UTF-8":       {"u\xff,e,2026-01-01,1,a,1", "who"},
		"NUL":                 {"u\x00,e,2026-01-01,1,a,1", "user_id"},
		"user of 10 000":      {strings.Repeat("u", 10_000) + ",e,2026-01-01,1,a,1", "user_id"},
		"a cell too few":      {"u,e,2026-01-01,1,a", "row"},
		"a quote not closed":  {`u,e,2026-01-01,1,a"b,1`, "row"},
		"a control character": {"u,e\x07,2026-01-01,1,a,1", "event_id"},
	} {
		t.Run(name, func(t *testing.T) {
			rows := read(t, "rows.csv", header+test.row+"\nu,good,2026-01-01,1,a,1\n", simple)
			require.Len(t, rows, 2, "the row after it is read")
			require.Equal(t, 2, rows[0].Line)
			var invalid *audience.InvalidError
			require.ErrorAs(t, rows[0].Refused, &invalid)
			require.Equal(t, test.field, invalid.Violations[0].Field)
			require.NotContains(t, rows[0].Refused.Error(), "uuuu", "user ids are not quoted")
			require.NoError(t, rows[1].Refused)
			require.Equal(t, "good", rows[1].Event.ID)
		})
	}
}

func TestExpressionsAndFilter(t *testing.T) {
	m := simple
	m.Type = `=double(row["amount"]) < 0.0 ? "refund" : "purchase"`
	m.EventID = `=row["who"] + "/" + string(line)`
	m.Where = `row["category"] != "skip"`
	m.TimeZone = "Europe/London"
	rows := read(t, "rows.csv", header+"u,,2026-07-01 12:00:00,-3,a,1\nu,,2026-07-01,1,skip,1\n", m)
	require.Len(t, rows, 2)
	require.Equal(t, "refund", rows[0].Event.Type)
	require.Equal(t, "u/2", rows[0].Event.ID)
	require.Equal(t, time.Date(2026, 7, 1, 11, 0, 0, 0, time.UTC), rows[0].Event.Time, "summer time")
	require.True(t, rows[1].Skipped)
}

func TestMappingErrorsNameTheField(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.csv")
	require.NoError(t, os.WriteFile(file, []byte(header), 0o600))
	_, err := tabular.Open(file, tabular.Mapping{User: "nobody", EventID: "=row[", TimeZone: ""})
	require.ErrorContains(t, err, `user: the file has no column "nobody"`)
	require.ErrorContains(t, err, "event_id: ")
	require.ErrorContains(t, err, "time: is not mapped")

	_, err = tabular.Open(file, tabular.Mapping{TimeZone: "Mars/Olympus"})
	require.ErrorContains(t, err, "time_zone")
}

func TestNDJSONLineWithoutEnd(t *testing.T) {
	long := `{"who":"` + strings.Repeat("x", 2<<20) + `"}`
	rows := read(t, "rows.ndjson", long+"\n[1]\n"+`{"who":"u","id":"e","when":"2026-01-01"}`, simple)
	require.Len(t, rows, 3)
	require.ErrorContains(t, rows[0].Refused, "more than")
	require.ErrorContains(t, rows[1].Refused, "not a JSON object")
	require.NoError(t, rows[2].Refused)
}

// TestPresetOnlineRetail reads the year of real invoice lines: about a fifth have no customer, and are refused, not lost.
func TestPresetOnlineRetail(t *testing.T) {
	file := "../../../shared/data/online_retail_2009_2010.csv.gz"
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
			t.Fatalf("the data set is missing: %v", err)
		}
		t.Skip("the data set is not beside this clone")
	}
	m, err := tabular.Preset("online-retail")
	require.NoError(t, err)
	r, err := tabular.Open(file, m)
	require.NoError(t, err)
	defer r.Close()
	var rows, refunds, refused int
	for row, err := range r.Rows() {
		require.NoError(t, err)
		rows++
		if row.Refused != nil {
			refused++
			require.ErrorContains(t, row.Refused, "user_id")
		} else if row.Event.Type == "refund" {
			refunds++
			require.LessOrEqual(t, row.Event.ValueMicros, int64(0))
		}
	}
	require.Equal(t, 502_938, rows)
	require.Equal(t, 9_541, refunds)
	require.Equal(t, 100_207, refused)
}
