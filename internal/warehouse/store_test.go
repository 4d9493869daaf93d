package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// open gives a test a Store on a database of its own.
func open(t testing.TB) *Store {
	t.Helper()
	return reopen(t, enginetest.ClickHouse(t))
}

func reopen(t testing.TB, dsn string) *Store {
	t.Helper()
	store, err := Open(t.Context(), Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestMigratingTwiceIsMigratingOnce(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	require.NoError(t, reopen(t, dsn).Close())
	store := reopen(t, dsn)
	files, err := migrations.ReadDir("migrations")
	require.NoError(t, err)
	rows, _, err := first(t.Context(), store, audience.Query{SQL: "SELECT count() FROM schema_migrations"}, scanUint64)
	require.NoError(t, err)
	require.EqualValues(t, len(files), rows)
}

// TestTablesOfADeadProcessAreDropped: a process that is killed drops none of its own.
func TestTablesOfADeadProcessAreDropped(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	store := reopen(t, dsn)
	for _, table := range []string{"evaluation_0a", "staging_0a"} {
		require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: "CREATE TABLE " + table + " (n UInt8) ENGINE = MergeTree ORDER BY n"}))
	}
	require.NoError(t, store.Close())
	left, _, err := first(t.Context(), reopen(t, dsn), audience.Query{SQL: "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\_0a'"}, scanUint64)
	require.NoError(t, err)
	require.Zero(t, left)
}

func event(user, id string) audience.Event {
	return audience.Event{
		User: audience.UserID(user), ID: id, Type: "purchase", Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		ValueMicros: 12_500_000, Texts: map[string]string{"category": "books"}, Numbers: map[string]float64{"quantity": 2},
	}
}

func count(t testing.TB, s *Store, table string) int {
	t.Helper()
	rows, _, err := first(t.Context(), s, audience.Query{SQL: "SELECT count() FROM " + table}, scanUint64)
	require.NoError(t, err)
	return int(rows)
}
