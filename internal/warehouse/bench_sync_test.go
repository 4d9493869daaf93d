package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// BenchmarkPlan compares a target (members, their consents and identifiers) with a ledger of as many users, one in fifty
// to add and one in fifty to remove, and does beside it what one would write otherwise: two anti-joins of the same target
// and ledger. "x-time" and "x-memory" are ours to theirs, of ClickHouse's time and memory.
func BenchmarkPlan(b *testing.B) {
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
	const (
		target = `(SELECT user_id, identifiers FROM members FINAL
			INNER JOIN (SELECT user_id, argMax(granted, destination != '') AS granted FROM consents FINAL
				WHERE purpose = 'advertising' AND destination IN ('', 'meta-main') GROUP BY user_id) AS consents USING (user_id)
			INNER JOIN (SELECT user_id, identifiers FROM profiles FINAL) AS profiles USING (user_id)
			WHERE has(segments, 7) AND granted)`
		ledger = "(SELECT user_id, identifiers FROM deliveries FINAL WHERE audience = 4 AND state = 'delivered')"
	)
	var ours, theirs time.Duration
	var peakOurs, peakTheirs int64
	for b.Loop() {
		began, rows := time.Now(), 0
		for _, err := range store.SyncRows(peakMemory(b.Context(), &peakOurs), scope, audience.SyncRange{}) {
			require.NoError(b, err)
			rows++
		}
		ours += time.Since(began)
		require.Equal(b, users/50*2, rows)

		began, rows = time.Now(), 0
		for _, sides := range [][2]string{{target, ledger}, {ledger, target}} {
			require.NoError(b, store.Select(peakMemory(b.Context(), &peakTheirs), audience.Query{
				SQL: "SELECT user_id FROM " + sides[0] + " AS l LEFT ANTI JOIN " + sides[1] + " AS r USING (user_id, identifiers)"},
				func(func(...any) error) error { rows++; return nil }))
		}
		theirs += time.Since(began)
		require.Equal(b, users/50*2, rows)
	}
	b.ReportMetric(float64(users)*float64(b.N)/ours.Seconds(), "users/s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "x-time")
	b.ReportMetric(float64(peakOurs)/1e6, "peak-MB")
	b.ReportMetric(float64(peakOurs)/float64(peakTheirs), "x-memory")
}
