package expr

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// BenchmarkPlanOfValues compares a target of 200 000 members, five purchases each, with a ledger as large, in which one value in fifty has
// moved; "x-plain" is its time to that of the same without values.
func BenchmarkPlanOfValues(b *testing.B) {
	const users = 200_000
	w := newWorld(b)
	const user = "concat('user-', leftPad(toString(number % {users:UInt64}), 8, '0'))"
	const address = "[('meta:EMAIL', sipHash128(number))]"
	for _, fill := range []string{
		"INSERT INTO users SELECT " + user + " FROM numbers({users:UInt64})",
		"INSERT INTO events (user_id, event_id, type, time, value_micros) SELECT " + user + `, toString(number), 'purchase', now64(3) - toIntervalDay(number % 300), 3000000
			FROM numbers(5 * {users:UInt64})`,
		"INSERT INTO members SELECT " + user + ", [7], 1 FROM numbers({users:UInt64})",
		"INSERT INTO consents SELECT " + user + ", 'advertising', '', true, now64(3) FROM numbers({users:UInt64})",
		"INSERT INTO profiles SELECT " + user + ", 1, 'DE', map(), map(), " + address + ", now64(3) FROM numbers({users:UInt64})",
		"INSERT INTO deliveries (audience, user_id, state, identifiers, value, version) SELECT 4, " + user + ", 'delivered', " + address + `,
			if(number % 50 = 0, 10, 15), 1 FROM numbers({users:UInt64})`,
		"INSERT INTO deliveries (audience, user_id, state, identifiers, version) SELECT 5, " + user + ", 'delivered', if(number % 50 = 0, [], " + address + `), 1
			FROM numbers({users:UInt64})`,
	} {
		require.NoError(b, w.store.Exec(b.Context(), audience.Query{SQL: fill, Params: map[string]any{"users": uint64(users)}}))
	}
	p, err := Compile([]Segment{{ID: "worth", Expression: `sum("purchase", "365d")`, Numeric: true}}, nil)
	require.NoError(b, err)
	plain := audience.SyncScope{Audience: 4, Segment: 7, Purpose: "advertising", Destination: "meta", Schemes: []audience.Scheme{"meta:EMAIL"}}
	valued := plain
	plain.Audience = 5
	valued.Values = audience.Values{Query: p.Values("worth", time.Now(), audience.UsersOfValues), Tolerance: audience.DefaultValueTolerance}
	took := func(scope audience.SyncScope, want int) time.Duration {
		began, rows := time.Now(), 0
		for _, err := range w.store.SyncRows(b.Context(), scope, audience.SyncRange{}) {
			require.NoError(b, err)
			rows++
		}
		require.Equal(b, want, rows)
		return time.Since(began)
	}
	var withValues, without time.Duration
	for b.Loop() {
		withValues += took(valued, users/50)
		without += took(plain, users/50)
	}
	b.ReportMetric(float64(users)*float64(b.N)/withValues.Seconds(), "users/s")
	b.ReportMetric(withValues.Seconds()/without.Seconds(), "x-plain")
}
