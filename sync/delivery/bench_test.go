package delivery_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// benched names, in the environment, the audience that a child process syncs once, and measures itself.
const benched = "KOHORTA_BENCH_SYNC_"

func init() {
	if dir := os.Getenv(benched + "DIR"); dir != "" {
		measured, err := measureSync(context.Background(), process{dir: dir, dsn: os.Getenv(benched + "DSN"), url: os.Getenv(benched + "URL")})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(measured)
		os.Exit(0)
	}
}

// measured is what one whole sync took: of the time, what ClickHouse and the platform had of it.
type measured struct {
	Took, Planning, Reading, Writing, Requests time.Duration
	Confirmed                                  int64
	HeapBytes                                  uint64 // at most, in use
	ResidentBytes                              uint64 // at most
}

// measureSync syncs the audience of the process once.
func measureSync(ctx context.Context, p process) (m measured, err error) {
	store, err := warehouse.Open(ctx, warehouse.Config{DSN: p.dsn})
	if err != nil {
		return m, err
	}
	defer store.Close()
	ledger := &stopwatch{Ledger: store}
	client := &timedClient{}
	d := delivery.New(delivery.Deps{Ledger: ledger, Catalogue: shelf{store}, Log: slog.New(slog.DiscardHandler),
		Connect: func(audience.Destination) (destination.Destination, error) {
			client.Client, err = benchClient(p, 10_000, 100)
			return client, err
		}})
	heap := watchHeap(ctx)
	began := time.Now()
	report, err := d.Sync(ctx, "bench", "1", true, func(stage string, _, _ int64) {
		if stage != "planning" && m.Planning == 0 {
			m.Planning = time.Since(began)
		}
	})
	m.Took, m.Confirmed, m.HeapBytes = time.Since(began), report.Additions.Confirmed, heap()
	m.Reading, m.Writing, m.Requests = ledger.reading, ledger.writing, client.took
	m.ResidentBytes = resident()
	return m, err
}

func benchClient(p process, rows int, perSecond float64) (*meta.Client, error) {
	return meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: p.url, TokenFile: filepath.Join(p.dir, "meta"),
		AppSecretFile: filepath.Join(p.dir, "app"), BatchRows: rows, RequestsPerSecond: perSecond}, slog.New(slog.DiscardHandler))
}

// stopwatch is a ledger that knows how long its caller waited for it.
type stopwatch struct {
	delivery.Ledger
	reading, writing time.Duration
}

func (s *stopwatch) SyncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	return func(yield func(audience.SyncRow, error) bool) {
		since := time.Now()
		for row, err := range s.Ledger.SyncRows(ctx, scope, within) {
			s.reading += time.Since(since)
			more := yield(row, err)
			if since = time.Now(); !more {
				break
			}
		}
		s.reading += time.Since(since)
	}
}

func (s *stopwatch) RecordDeliveries(ctx context.Context, number audience.Number, rows []audience.Delivery) error {
	defer func(began time.Time) { s.writing += time.Since(began) }(time.Now())
	return s.Ledger.RecordDeliveries(ctx, number, rows)
}

type timedClient struct {
	*meta.Client
	took time.Duration
}

func (c *timedClient) Apply(ctx context.Context, id string, b destination.Batch) (destination.Result, error) {
	defer func(began time.Time) { c.took += time.Since(began) }(time.Now())
	return c.Client.Apply(ctx, id, b)
}

// watchHeap looks at the heap all the time; the function it gives back is how much of it was in use at most.
func watchHeap(ctx context.Context) func() uint64 {
	ctx, stop := context.WithCancel(ctx)
	var most uint64
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapInuse)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() uint64 {
		stop()
		watching.Wait()
		return most
	}
}

// resident is the most memory that this process ever had, by the system's account; 0 where that is not told.
func resident() uint64 {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.ParseUint(fields[1], 10, 64)
			return 1024 * kilobytes
		}
	}
	return 0
}

// benchRows is how many members the larger audiences have.
func benchRows(b *testing.B) int {
	text := os.Getenv("KOHORTA_BENCH_ROWS")
	if text == "" {
		return 300_000
	}
	rows, err := strconv.Atoi(text)
	require.NoError(b, err, "KOHORTA_BENCH_ROWS")
	return rows
}

// bench is an audience of so many members in a real ClickHouse, bound to a stand-in without quota.
func bench(b *testing.B, rows int, handler func(http.Handler) http.Handler) (process, *sandbox.Server) {
	box := sandbox.New(sandbox.Config{QuotasOff: true})
	server := httptest.NewServer(handler(box.Handler()))
	b.Cleanup(server.Close)
	p := process{dir: b.TempDir(), dsn: enginetest.ClickHouse(b), url: server.URL}
	for name, secret := range map[string]string{"meta": sandbox.DemoMetaToken, "app": sandbox.DemoMetaAppSecret} {
		require.NoError(b, os.WriteFile(filepath.Join(p.dir, name), []byte(secret), 0o600))
	}
	store, err := warehouse.Open(b.Context(), warehouse.Config{DSN: p.dsn})
	require.NoError(b, err)
	defer store.Close()
	_, err = store.Segments().Create(b.Context(), audience.Segment{ID: "bench", Expression: "true"})
	require.NoError(b, err)
	_, err = store.Destinations().Create(b.Context(), audience.Destination{ID: "meta", Platform: audience.PlatformMeta, Account: sandbox.DemoMetaAccount})
	require.NoError(b, err)
	_, err = store.Audiences().Create(b.Context(), audience.Audience{ID: "bench", Segment: "bench", Destination: "meta"})
	require.NoError(b, err)
	const user = "concat('u', leftPad(toString(number), 8, '0'))"
	for _, sql := range []string{
		"INSERT INTO members SELECT " + user + ", [1], 1 FROM numbers({rows:UInt64})",
		"INSERT INTO consents SELECT " + user + ", 'advertising', '', true, now64(3) FROM numbers({rows:UInt64})",
		"INSERT INTO profiles SELECT " + user + ", 1, 'PL', map(), map(), [('meta:EMAIL', unhex(hex(SHA256(" + user + "))))], now64(3) FROM numbers({rows:UInt64})",
	} {
		require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: sql, Params: map[string]any{"rows": uint64(rows)}}))
	}
	return p, box
}

// BenchmarkSync is a whole first sync in a process of its own, from ClickHouse to the platform's confirmation in the ledger.
// Heap and resident memory are the most that process had: they must not grow with the audience.
func BenchmarkSync(b *testing.B) {
	for _, rows := range []int{benchRows(b) / 10, benchRows(b)} {
		b.Run(fmt.Sprint("members=", rows), func(b *testing.B) {
			p, _ := bench(b, rows, func(h http.Handler) http.Handler { return h })
			child := exec.Command(os.Args[0]) //nolint:gosec // this test again
			child.Env = append(os.Environ(), benched+"DIR="+p.dir, benched+"DSN="+p.dsn, benched+"URL="+p.url)
			child.Stderr = os.Stderr
			var m measured
			for b.Loop() {
				out, err := child.Output()
				require.NoError(b, err)
				require.NoError(b, json.Unmarshal(out, &m))
				require.EqualValues(b, rows, m.Confirmed)
			}
			b.ReportMetric(float64(rows)/m.Took.Seconds(), "rows/s")
			b.ReportMetric(m.Planning.Seconds()/m.Took.Seconds(), "planning-share")
			b.ReportMetric(m.Reading.Seconds()/m.Took.Seconds(), "reading-share")
			b.ReportMetric(m.Writing.Seconds()/m.Took.Seconds(), "writing-share")
			b.ReportMetric(m.Requests.Seconds()/m.Took.Seconds(), "requests-share")
			b.ReportMetric(float64(m.HeapBytes)/1e6, "heap-MB")
			b.ReportMetric(float64(m.ResidentBytes)/1e6, "resident-MB")
		})
	}
}

// BenchmarkStop measures how long a stop takes to the platform while a sync has all its adds queued: from the call to the
// arrival of the removal. Batches are small and the pace is slow, so that the queue lasts.
func BenchmarkStop(b *testing.B) {
	rows := benchRows(b)
	var arrivals sync.Map // digest to the channel that is closed when its removal arrives
	var added atomic.Int64
	p, _ := bench(b, rows, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if r.Method == http.MethodDelete {
				for _, digest := range digests.FindAll(body, -1) {
					if arrived, ok := arrivals.LoadAndDelete(string(digest)); ok {
						close(arrived.(chan struct{})) //nolint:forcetypeassert // nothing else is stored
					}
				}
			} else if strings.HasSuffix(r.URL.Path, "/users") {
				added.Add(1)
			}
			h.ServeHTTP(w, r)
		})
	})
	store, err := warehouse.Open(b.Context(), warehouse.Config{DSN: p.dsn})
	require.NoError(b, err)
	defer store.Close()
	d := delivery.New(delivery.Deps{Ledger: store, Catalogue: shelf{store}, Log: slog.New(slog.DiscardHandler),
		Connect: func(audience.Destination) (destination.Destination, error) { return benchClient(p, 1000, 5) }})
	const stops = 200
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var working sync.WaitGroup
		working.Go(func() { _, _ = d.Sync(ctx, "bench", "1", true, progress) })
		for added.Load() < 30 {
			time.Sleep(10 * time.Millisecond)
		}
		var mu sync.Mutex
		var took []time.Duration
		random := rand.New(rand.NewPCG(1, 1))
		for i := range stops {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(300*time.Millisecond)))
			working.Go(func() {
				user, digest := stopped(i * 100) // of those sent already
				arrived := make(chan struct{})
				arrivals.Store(digest, arrived)
				began := time.Now()
				if err := d.Stop(ctx, stop(user)); err != nil {
					b.Error(err)
					return
				}
				select {
				case <-arrived:
				case <-time.After(2 * time.Minute):
					b.Error("a stop has not arrived")
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(began))
			})
		}
		queued := rows - 1000*int(added.Load())
		for { // the stops are through, then the sync need not go on
			mu.Lock()
			n := len(took)
			mu.Unlock()
			if n == stops || b.Failed() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		working.Wait()
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds(), "s-p50")
		b.ReportMetric(took[len(took)*99/100].Seconds(), "s-p99")
		b.ReportMetric(took[len(took)-1].Seconds(), "s-most")
		b.ReportMetric(float64(queued), "still-queued")
	}
}

// stopped is the n-th member, and how requests name him.
func stopped(n int) (user audience.UserID, digest string) {
	user = audience.UserID(fmt.Sprintf("u%08d", n))
	sum := sha256.Sum256([]byte(user))
	return user, hex.EncodeToString(sum[:])
}
