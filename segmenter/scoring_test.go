package segmenter_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/tabular"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/segmenter/kmeans"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// house is a segmenter on real engines of its own.
type house struct {
	*segmenter.Segmenter
	store *warehouse.Store
	live  *live.Store
	dsn   string
}

func newHouse(t testing.TB) house {
	t.Helper()
	return openHouse(t, enginetest.ClickHouse(t))
}

// openHouse opens a database that may hold something already.
func openHouse(t testing.TB, dsn string) house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	projection := openLive(t, enginetest.Redis(t))
	return house{dsn: dsn, store: store, live: projection, Segmenter: segmenter.New(segmenter.Deps{
		Database: store, Log: store, Projection: projection, Catalogue: warehouse.Catalogue{Store: store}, People: store, Logger: log, Now: time.Now,
	})}
}

func quiet(string, int64, int64) {}

// train creates the model if need be and trains it.
func (h house) train(t testing.TB, m audience.Model) audience.ModelVersion {
	t.Helper()
	stored, err := h.store.Models().Get(t.Context(), string(m.ID))
	if err != nil {
		stored, err = h.store.Models().Create(t.Context(), m)
	}
	require.NoError(t, err)
	stored.RFM, stored.KMeans = m.RFM, m.KMeans
	trained, err := h.Train(t.Context(), stored, "run", quiet)
	require.NoError(t, err)
	return trained.Version
}

// scores reads all scores of the model's published version.
func (h house) scores(t testing.TB, version audience.ModelVersion) map[audience.UserID]audience.Score {
	t.Helper()
	scores := map[audience.UserID]audience.Score{}
	for score, err := range h.store.Scores(t.Context(), version.Model, version.Version, "") {
		require.NoError(t, err)
		scores[score.User] = score
	}
	return scores
}

// data is a file of the public data sets beside the repository.
func data(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join("..", "..", "shared", "data", name)
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the data set is missing: %v", err)
		}
		t.Skip("the public data sets are not beside this clone")
	}
	return file
}

// importFile writes the file's rows as events; those that are none are counted.
func (h house) importFile(t testing.TB, file string, m tabular.Mapping) (refused int) {
	t.Helper()
	reader, err := tabular.Open(file, m)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	var events []audience.Event
	flush := func() {
		_, err := h.store.WriteEvents(t.Context(), events)
		require.NoError(t, err)
		events = events[:0]
	}
	for row, err := range reader.Rows() {
		require.NoError(t, err)
		if row.Refused != nil {
			refused++
			continue
		}
		if events = append(events, row.Event); len(events) == 100_000 {
			flush()
		}
	}
	flush()
	return refused
}

var rfmOrders = tabular.Mapping{
	User: "customer_id", EventID: `=row["order_date"] + "/" + string(line)`, Time: "order_date", Value: "revenue",
}

// TestRFMPackageExample holds the published scores of the R package rfm, and the bounds it prints.
func TestRFMPackageExample(t *testing.T) {
	h := newHouse(t)
	require.Zero(t, h.importFile(t, data(t, "rfm_orders.csv.gz"), rfmOrders))
	asOf := time.Date(2006, 12, 31, 0, 0, 0, 0, time.UTC)
	version := h.train(t, audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{
		AsOf: asOf, Frequency: "events", Convention: "rfm_package", SegmentPreset: "rfm_package",
	}})
	require.EqualValues(t, 995, version.Users)

	var fitted rfm.Model
	require.NoError(t, json.Unmarshal([]byte(version.Fitted), &fitted))
	require.InDeltaSlice(t, []float64{115, 181, 297.4, 482}, fitted.Recency.CutPoints, 1e-9)
	require.InDeltaSlice(t, []float64{4, 5, 6, 8}, fitted.Frequency.CutPoints, 1e-9)
	require.InDeltaSlice(t, []float64{255.8, 382, 506.4, 666}, fitted.Monetary.CutPoints, 1e-9)

	file, err := os.Open(data(t, "rfm_orders_expected.csv"))
	require.NoError(t, err)
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	scores := h.scores(t, version)
	require.Len(t, rows, 26)
	for _, row := range rows[1:] {
		score, known := scores[audience.UserID(row[0])]
		require.True(t, known, "no score for %s", row[0])
		got := []string{
			fmt.Sprintf("%d%d%d", score.R, score.F, score.M), fmt.Sprint(score.Frequency), fmt.Sprint(score.RecencyDays),
			fmt.Sprint(score.MonetaryMicros / 1e6), fmt.Sprint(score.R), fmt.Sprint(score.F), fmt.Sprint(score.M),
		}
		require.Equal(t, row[2:], got, "scores of %s", row[0])
	}
}

// everyFifthCustomer is a copy of the file of invoice lines with those whose customer's number is a multiple of five.
func everyFifthCustomer(t *testing.T, file string) string {
	t.Helper()
	all, err := os.Open(file)
	require.NoError(t, err)
	defer all.Close()
	unzipped, err := gzip.NewReader(all)
	require.NoError(t, err)
	fifth := regexp.MustCompile(`Customer ID,Country$|[05],[^,]*$`)
	var kept bytes.Buffer
	for lines := bufio.NewScanner(unzipped); lines.Scan(); {
		if fifth.Match(lines.Bytes()) {
			fmt.Fprintf(&kept, "%s\n", lines.Bytes())
		}
	}
	few := filepath.Join(t.TempDir(), "invoices.csv")
	require.NoError(t, os.WriteFile(few, kept.Bytes(), 0o600))
	return few
}

// TestRFMEqualsTheMathematics compares what the database computes for everybody with the definition, for each setting, on a
// year of real invoice lines with refunds, those of every fifth customer.
func TestRFMEqualsTheMathematics(t *testing.T) {
	h := newHouse(t)
	mapping, err := tabular.Preset("online-retail")
	require.NoError(t, err)
	file := everyFifthCustomer(t, data(t, "online_retail_2009_2010.csv.gz"))
	require.Zero(t, h.importFile(t, file, mapping))

	purchases := map[audience.UserID][]rfm.Purchase{}
	reader, err := tabular.Open(file, mapping)
	require.NoError(t, err)
	defer reader.Close()
	for row, err := range reader.Rows() {
		require.NoError(t, err)
		if row.Refused == nil {
			e := row.Event
			if e.Type == "refund" && e.ValueMicros >= 0 {
				continue // not a refund of anything
			}
			purchases[e.User] = append(purchases[e.User], rfm.Purchase{Time: e.Time, OrderID: e.Texts["order_id"], ValueMicros: e.ValueMicros})
		}
	}
	asOf := time.Date(2010, 11, 30, 23, 59, 59, 0, time.UTC)
	for name, test := range map[string]struct {
		spec   audience.RFMSpec
		config rfm.Config
	}{
		"defaults":    {audience.RFMSpec{}, rfm.Config{}},
		"ntile":       {audience.RFMSpec{Convention: "ntile", Frequency: "days", TimeZone: "Europe/London"}, rfm.Config{Convention: rfm.NTile, Frequency: rfm.Days, TimeZone: "Europe/London"}},
		"rfm_package": {audience.RFMSpec{Convention: "rfm_package", Frequency: "events", IgnoreRefunds: true}, rfm.Config{Convention: rfm.RFMPackage, Frequency: rfm.Events, Refunds: rfm.Ignore}},
		"mean, 90 days, elapsed, 4 bins": {
			audience.RFMSpec{Monetary: "mean", WindowDays: 90, Recency: "elapsed", Bins: 4},
			rfm.Config{Monetary: rfm.Mean, WindowDays: 90, Recency: rfm.Elapsed, Bins: 4},
		},
		"fixed cut points": {
			audience.RFMSpec{RecencyCuts: []float64{7, 30, 90, 180}, FrequencyCuts: []float64{1, 2, 4, 8}, MonetaryCuts: []float64{9.99, 100, 1000, 5000}},
			rfm.Config{CutPoints: rfm.CutPoints{Recency: []float64{7, 30, 90, 180}, Frequency: []float64{1, 2, 4, 8}, Monetary: []float64{9.99, 100, 1000, 5000}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.AsOf = asOf
			version := h.train(t, audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &test.spec})
			var users []rfm.Values
			for user, list := range purchases {
				if v, any := test.config.Measure(list, asOf); any {
					v.Key = string(user)
					users = append(users, v)
				}
			}
			model, err := test.config.Fit(users)
			require.NoError(t, err)
			var fitted rfm.Model
			require.NoError(t, json.Unmarshal([]byte(version.Fitted), &fitted))
			require.Equal(t, model, fitted)
			scores := h.scores(t, version)
			require.Len(t, scores, len(users))
			for _, v := range users {
				want := model.Score(v)
				require.Equal(t, audience.Score{
					User: audience.UserID(v.Key), R: uint8(want.R), F: uint8(want.F), M: uint8(want.M), Segment: want.Segment,
					RecencyDays: int32(v.RecencyDays), Frequency: uint32(v.Frequency), MonetaryMicros: v.MonetaryMicros,
				}, scores[audience.UserID(v.Key)])
			}
		})
	}
}

// TestKMeans trains on real scores: labels and distances are those of the mathematics, the answer repeats, and labels stay
// when the model is trained again on slightly newer data.
func TestKMeans(t *testing.T) {
	h := newHouse(t)
	h.importFile(t, data(t, "rfm_orders.csv.gz"), rfmOrders)
	scoresAt := func(asOf time.Time) (audience.ModelVersion, map[audience.UserID]audience.Score) {
		rfmVersion := h.train(t, audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{AsOf: asOf, Frequency: "events"}})
		return rfmVersion, h.scores(t, rfmVersion)
	}
	spec := audience.Model{ID: "behaviour", Kind: audience.ModelKMeans, KMeans: &audience.KMeansSpec{Source: "rfm", K: 4, Seed: 7}}

	_, sources := scoresAt(time.Date(2006, 12, 24, 0, 0, 0, 0, time.UTC))
	first := h.train(t, spec)
	again := h.train(t, spec)
	require.Equal(t, first.Fitted, again.Fitted, "same data, same seed")

	var model kmeans.Model
	require.NoError(t, json.Unmarshal([]byte(again.Fitted), &model))
	before := h.scores(t, again)
	require.Len(t, before, len(sources))
	users := map[int]int{}
	for user, source := range sources {
		label, distance := model.Assign([]float64{float64(source.RecencyDays), float64(source.Frequency), float64(source.MonetaryMicros) / 1e6})
		require.EqualValues(t, label, before[user].Label)
		require.InDelta(t, distance, before[user].Distance, 1e-5*math.Max(1, distance))
		users[label]++
	}
	for _, cluster := range model.Clusters {
		require.Equal(t, users[cluster.Label], cluster.Users, "the profile counts everybody")
		require.NotEmpty(t, cluster.Name)
	}

	scoresAt(time.Date(2006, 12, 31, 0, 0, 0, 0, time.UTC))
	after := h.scores(t, h.train(t, spec))
	same := 0
	for user, score := range after {
		if score.Label == before[user].Label {
			same++
		}
	}
	require.Greater(t, same, len(after)*9/10, "a week later nearly everybody has the same label")
}

// TestCDNOWCounts holds the published summary of the CDNOW sample: repeat days to 1997-09-30.
func TestCDNOWCounts(t *testing.T) {
	h := newHouse(t)
	h.importFile(t, data(t, "cdnow_sample.csv.gz"), tabular.Mapping{
		User: `=string(int(row["sample_id"]))`, EventID: "=string(line)", Time: "date", TimeLayout: "20060102", Value: "dollars",
	})
	version := h.train(t, audience.Model{ID: "rfm", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{
		AsOf: time.Date(1997, 9, 30, 23, 59, 59, 0, time.UTC), Frequency: "days",
	}})
	scores := h.scores(t, version)
	file, err := os.Open(data(t, "cdnow_sample_summary.csv.gz"))
	require.NoError(t, err)
	defer file.Close()
	text, err := gzip.NewReader(file)
	require.NoError(t, err)
	rows, err := csv.NewReader(text).ReadAll()
	require.NoError(t, err)
	require.Len(t, scores, len(rows)-1)
	for _, row := range rows[1:] {
		score := scores[audience.UserID(row[0])]
		repeats, err := strconv.ParseFloat(row[1], 64)
		require.NoError(t, err)
		require.EqualValues(t, int(repeats), score.Frequency-1, "repeat days of %s", row[0])
		recency, err := strconv.ParseFloat(row[2], 64)
		require.NoError(t, err)
		age, err := strconv.ParseFloat(row[3], 64)
		require.NoError(t, err)
		require.InDelta(t, (age-recency)*7, score.RecencyDays, 0.1, "days since the last purchase of %s", row[0])
	}
}
