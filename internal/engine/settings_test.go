package engine

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettingsAreInForce(t *testing.T) {
	engines := startEngines(t, Config{Dir: filepath.Join(t.TempDir(), `a "quoted" & <odd> name`)})
	conn := openClickHouse(t, engines.ClickHouse())
	for query, want := range map[string]string{
		"SELECT currentDatabase()": database,
		"SELECT timezone()":        "UTC",
		"SELECT value FROM system.settings WHERE name = 'max_partitions_per_insert_block'":      "1000",
		"SELECT value FROM system.settings WHERE name = 'log_queries_cut_to_length'":            "200",
		"SELECT value FROM system.server_settings WHERE name = 'mark_cache_size'":               "268435456",
		"SELECT value FROM system.server_settings WHERE name = 'background_schedule_pool_size'": "16",
		"SELECT value FROM system.merge_tree_settings WHERE name = 'fsync_after_insert'":        "1",
		"SELECT value FROM system.merge_tree_settings WHERE name = 'fsync_part_directory'":      "1",
	} {
		var got string
		require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&got), query)
		require.Equal(t, want, got, query)
	}
	version, err := conn.ServerVersion()
	require.NoError(t, err)
	require.Equal(t, time.UTC, version.Timezone)

	settings, err := openRedis(t, engines.Redis()).ConfigGet(t.Context(), "*").Result()
	require.NoError(t, err)
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction", "hash-max-listpack-entries": "256"} {
		require.Equal(t, want, settings[name], name)
	}
}

// An import of ten years in one insert, and a person's removal from all of them.
func TestMutationsAndManyPartitionsWork(t *testing.T) {
	conn := openClickHouse(t, startEngines(t, Config{Dir: t.TempDir(), NoSync: true}).ClickHouse())
	for _, statement := range []string{
		"CREATE TABLE spread (id UInt64, day Date) ENGINE = MergeTree ORDER BY id PARTITION BY toYYYYMM(day)",
		"INSERT INTO spread SELECT number, toDate('2010-01-01') + number FROM numbers(3652)",
		"ALTER TABLE spread DELETE WHERE id < 1000 SETTINGS mutations_sync = 1",
	} {
		require.NoError(t, conn.Exec(t.Context(), statement), statement)
	}
	var rows uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count() FROM spread").Scan(&rows))
	require.EqualValues(t, 2652, rows)
}
