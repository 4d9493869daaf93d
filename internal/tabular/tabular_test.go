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
		"iso.csv":     strings.Replace(csv, "2026-03-29 10:00:00", "2026-03-29T10:00:00", 1),
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

func TestNDJSONFieldsThatDoNotMatter(t *testing.T) {
	const good = `"who":"u","id":"e","when":"2026-01-01"`
	rows := read(t, "rows.ndjson", `{`+good+`,"tags":["a"],"basket":{"lines":[1]}}
{`+good+`,"category":["a"]}
[1]
{`+good+`} {`+good+`}
`, simple)
	require.Len(t, rows, 4)
	require.NoError(t, rows[0].Refused, "no field of the mapping is a list")
	require.EqualError(t, rows[1].Refused, `texts.category: "category" is a list; events take texts and numbers`)
	require.EqualError(t, rows[2].Refused, "row: is not a JSON object but array")
	require.EqualError(t, rows[3].Refused, "row: has more than one JSON object; write one a line")
}

// TestFileThatCannotBeReadOn: what is behind the fault is not passed over in silence.
func TestFileThatCannotBeReadOn(t *testing.T) {
	good := "u,e,2026-01-01,1,a,1\n"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(header + strings.Repeat(good, 1000)))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, test := range map[string]struct {
		file, text string
		rows       int
		want       string
	}{
		"a quote not closed": {"rows.csv", header + good + "u,e,2026-01-01,1,\"a,1\n" + good + good, 1,
			"line 3: a quote opened here is not closed by line 5, so it cannot be known where the next row begins"},
		"a quote not closed in a large file": {"rows.csv", header + good + "u,e,2026-01-01,1,\"a\nb\nc\",1\n" + "u,\"e,2026-01-01,1,a,1\n" + strings.Repeat(good, 1<<20), 2,
			"line 6: the row that begins here or later has more than 16 MiB: a quote in it may not be closed"},
		"a quote closed by the next one": {"rows.csv", header + good + "u,e,2026-01-01,1,\"a,1\n" + good + "u,e,2026-01-01,1,\"a\",1\n" + good, 1,
			"line 3: a quote opened here is not closed by line 5, so it cannot be known where the next row begins"},
		"a file cut off": {"rows.csv.gz", zipped.String()[:zipped.Len()-20], -1, "the compressed data end too early: the file was cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), test.file)
			require.NoError(t, os.WriteFile(file, []byte(test.text), 0o600))
			r, err := tabular.Open(file, simple)
			require.NoError(t, err)
			defer r.Close()
			rows := 0
			var fault error
			for row, err := range r.Rows() {
				if fault = err; err == nil {
					require.NoError(t, row.Refused)
					rows++
				}
			}
			require.ErrorContains(t, fault, test.want)
			require.NotContains(t, fault.Error(), "line 0")
			if test.rows >= 0 {
				require.Equal(t, test.rows, rows, "those before are read")
			}
		})
	}
}

func TestStandardInput(t *testing.T) {
	for name, text := range map[string]string{
		"CSV":    header + "u,e,2026-01-01,1,a,1\n",
		"NDJSON": `{"who":"u","id":"e","when":"2026-01-01"}`,
	} {
		t.Run(name, func(t *testing.T) {
			in, out, err := os.Pipe()
			require.NoError(t, err)
			stdin := os.Stdin
			os.Stdin = in
			defer func() { os.Stdin = stdin }()
			_, err = out.WriteString(text)
			require.NoError(t, err)
			require.NoError(t, out.Close())
			r, err := tabular.Open(tabular.Stdin, simple)
			require.NoError(t, err)
			defer r.Close()
			rows := 0
			for row, err := range r.Rows() {
				require.NoError(t, err)
				require.NoError(t, row.Refused)
				rows++
			}
			require.Equal(t, 1, rows)
		})
	}
}

func TestSet(t *testing.T) {
	var m tabular.Mapping
	require.NoError(t, m.Set("currency", "EUR"))
	require.NoError(t, m.Set("texts.country", "Country"))
	require.Equal(t, tabular.Mapping{Currency: "EUR", Texts: map[string]string{"country": "Country"}}, m)
	require.ErrorContains(t, m.Set("curency", "EUR"), "value, currency, where")
}

// TestPresetOnlineRetail reads the first months of a year of real invoice lines: over a quarter have no customer, and are refused, not lost.
func TestPresetOnlineRetail(t *testing.T) {
	file := "../../../shared/data/online_retail_2009_2010.csv.gz"
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("CI") == "true" {
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
		if rows++; row.Refused != nil {
			refused++
			require.ErrorContains(t, row.Refused, "user_id")
		} else if row.Event.Type == "refund" {
			refunds++
			require.LessOrEqual(t, row.Event.ValueMicros, int64(0))
		}
		if rows == 100_000 {
			break
		}
	}
	require.Equal(t, 100_000, rows)
	require.Equal(t, 2_052, refunds)
	require.Equal(t, 27_139, refused)
}
