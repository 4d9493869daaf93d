package warehouse

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// benchRows is how many rows a benchmark works on: KOHORTA_BENCH_ROWS, or few enough for seconds.
func benchRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("KOHORTA_BENCH_ROWS")
	if text == "" {
		return 400_000
	}
	rows, err := strconv.Atoi(text)
	require.NoError(b, err, "KOHORTA_BENCH_ROWS")
	return rows
}

// BenchmarkIngest writes events as a stream of batches does, and lets ClickHouse copy the very same rows into the same
// kinds of tables by INSERT … SELECT; "ratio" is the rows a second of the first to those of the second, "repeat-rows/s" what
// the same stream runs at when every row is there already.
func BenchmarkIngest(b *testing.B) {
	for name, properties := range map[string]bool{"bare": false, "properties": true} {
		b.Run(name, func(b *testing.B) {
			rows := benchRows(b)
			events := make([]audience.Event, rows)
			for i := range events {
				events[i] = benchEvent(i, properties)
			}
			var ours, copied, repeated time.Duration
			for b.Loop() {
				store := open(b)
				began := time.Now()
				_, err := store.WriteEvents(b.Context(), events)
				require.NoError(b, err)
				ours += time.Since(began)

				for _, sql := range []string{ // the same tables, by type and by user
					"CREATE TABLE copied AS events", "CREATE TABLE copied_by_user AS events_by_user",
					"CREATE MATERIALIZED VIEW copied_view TO copied_by_user AS SELECT user_id, type, time, event_id, value_micros, texts, numbers, order_hash, batch FROM copied",
				} {
					require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: sql}))
				}
				began = time.Now()
				require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: "INSERT INTO copied (user_id, event_id, type, time, value_micros, texts, numbers) SELECT user_id, event_id, type, time, value_micros, texts, numbers FROM events"}))
				copied += time.Since(began)

				began = time.Now()
				_, err = store.WriteEvents(b.Context(), events)
				require.NoError(b, err)
				repeated += time.Since(began)
				require.Equal(b, rows, count(b, store, "events"))
				require.Equal(b, rows, count(b, store, "copied"))
				require.NoError(b, store.Close())
			}
			total := float64(rows) * float64(b.N)
			b.ReportMetric(total/ours.Seconds(), "rows/s")
			b.ReportMetric(total/copied.Seconds(), "insert-select-rows/s")
			b.ReportMetric(total/repeated.Seconds(), "repeat-rows/s")
			b.ReportMetric(copied.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// benchEvent is the i-th event of a history of three months: five a user, one in eight a purchase.
func benchEvent(i int, properties bool) audience.Event {
	e := audience.Event{
		User: audience.UserID(fmt.Sprintf("user-%07d", i*2654435761%4_000_000)), ID: fmt.Sprintf("event-%09d", i), Type: "visit",
		Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i*7919%7_776_000) * time.Second),
	}
	if i%8 == 0 {
		e.Type, e.ValueMicros = "purchase", int64(i%500)*1_000_000
	}
	if properties {
		e.Texts = map[string]string{"order_id": fmt.Sprintf("order-%08d", i/3), "category": "category-" + strconv.Itoa(i%40)}
		e.Numbers = map[string]float64{"quantity": float64(i % 9)}
	}
	return e
}

// BenchmarkDiff compares the memberships of many users with those on record, one in fifty changed, beside the bare scan of
// both sides.
func BenchmarkDiff(b *testing.B) {
	store, users := open(b), 2*benchRows(b)
	params := map[string]any{"users": users}
	membership := `concat('user-', leftPad(toString(cityHash64(number) %% 100000000), 8, '0'), toString(number)) AS user_id, [1, toUInt32(2 + number %% %d)] AS segments`
	require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: "INSERT INTO members SELECT " + fmt.Sprintf(membership, 50) + ", 1 FROM numbers({users:UInt64})", Params: params}))
	q := audience.Query{SQL: "SELECT " + fmt.Sprintf(membership, 50) + " FROM numbers({users:UInt64})", Params: params}
	q.SQL = "SELECT user_id, if(sipHash64(user_id) % 50 = 0, [toUInt32(9)], segments) AS segments FROM (" + q.SQL + ")"
	var diff, scan time.Duration
	for b.Loop() {
		began := time.Now()
		changes := 0
		for _, err := range store.Diff(b.Context(), q) {
			require.NoError(b, err)
			changes++
		}
		diff += time.Since(began)
		require.InDelta(b, users/50, changes, float64(users)/200)

		began = time.Now()
		require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: "SELECT sum(length(user_id) + arraySum(segments)) FROM (" + q.SQL + ") FORMAT Null", Params: params}))
		require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: "SELECT sum(length(user_id) + arraySum(segments)) FROM members FINAL FORMAT Null"}))
		scan += time.Since(began)
	}
	b.ReportMetric(float64(users)*float64(b.N)/diff.Seconds(), "users/s")
	b.ReportMetric(diff.Seconds()/scan.Seconds(), "x-scan")
}

// BenchmarkSyncRows compares a target with a ledger of as many users, one in fifty to add and one in fifty to remove, and
// counts beside it what two anti-joins of the bare user ids take. "peak-MB" is ClickHouse's memory for either.
func BenchmarkSyncRows(b *testing.B) {
	store, users := open(b), benchRows(b)
	params := map[string]any{"users": users}
	fill := func(sql string) {
		require.NoError(b, store.Exec(b.Context(), audience.Query{SQL: sql, Params: params}))
	}
	const user = "concat('user-', leftPad(toString(number), 8, '0'))"
	const address = "[('meta:EMAIL', sipHash128(number))]"
	fill("INSERT INTO members SELECT " + user + ", [7], 1 FROM numbers({users:UInt64})")
	fill("INSERT INTO consents SELECT " + user + ", 'advertising', '', true, now64(3) FROM numbers({users:UInt64})")
	fill("INSERT INTO profiles SELECT " + user + ", 1, 'DE', map(), map(), " + address + ", now64(3) FROM numbers({users:UInt64})")
	fill("INSERT INTO deliveries SELECT 4, " + user + ", 'delivered', " + address + ", 0, '', '', now64(3), 1 FROM numbers(intDiv({users:UInt64}, 50), {users:UInt64})")
	var ours, antijoins time.Duration
	var peakOurs, peakAntijoins int64
	for b.Loop() {
		began, rows := time.Now(), 0
		for _, err := range store.SyncRows(peakMemory(b.Context(), &peakOurs), scope, audience.SyncRange{}) {
			require.NoError(b, err)
			rows++
		}
		ours += time.Since(began)
		require.Equal(b, users/50*2, rows)

		began = time.Now()
		for _, sides := range [][2]string{{"members", "deliveries"}, {"deliveries", "members"}} {
			require.NoError(b, store.Select(peakMemory(b.Context(), &peakAntijoins), audience.Query{SQL: "SELECT count() FROM " + sides[0] + " AS l LEFT ANTI JOIN " + sides[1] + " AS r USING (user_id)"},
				func(scan func(...any) error) error { var n uint64; return scan(&n) }))
		}
		antijoins += time.Since(began)
	}
	b.ReportMetric(float64(users)*float64(b.N)/ours.Seconds(), "users/s")
	b.ReportMetric(ours.Seconds()/antijoins.Seconds(), "x-anti-joins")
	b.ReportMetric(float64(peakOurs)/1e6, "peak-MB")
	b.ReportMetric(float64(peakAntijoins)/1e6, "anti-join-peak-MB")
}

// peakMemory notes the most memory ClickHouse takes for what is done with the context.
func peakMemory(ctx context.Context, peak *int64) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithProfileEvents(func(events []clickhouse.ProfileEvent) {
		for _, event := range events {
			if event.Name == "MemoryTrackerPeakUsage" || event.Name == "MemoryTrackerUsage" {
				*peak = max(*peak, event.Value)
			}
		}
	}))
}

// BenchmarkUpsertProfiles merges batches of 10 000 updates into profiles that are there already.
func BenchmarkUpsertProfiles(b *testing.B) {
	store := open(b)
	updates := make([]audience.ProfileUpdate, 10_000)
	for i := range updates {
		updates[i] = audience.ProfileUpdate{
			User: audience.UserID(fmt.Sprintf("user-%06d", i)), Texts: map[string]string{"plan": "pro"}, Identifiers: []audience.Identifier{email, phone},
		}
	}
	for b.Loop() {
		require.NoError(b, store.UpsertProfiles(b.Context(), updates))
	}
	b.ReportMetric(float64(len(updates))*float64(b.N)/b.Elapsed().Seconds(), "profiles/s")
}
