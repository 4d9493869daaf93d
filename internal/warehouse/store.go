package warehouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Store is one database of Kohorta in ClickHouse. It is safe for concurrent use. Of several on one database one is the
// writer, see [Store.Write].
type Store struct {
	conn     driver.Conn
	database string
	log      *slog.Logger
	versions clock
	held     atomic.Pointer[func() error] // says whether this process may write; nil before Write

	unsettled unsettled
	changes   changeLog
	writer    *eventWriter
	resources sync.Mutex // read-modify-write of resources
	profiles  sync.Mutex // of profiles
	moves     sync.Mutex // held through each move
	byUser    byUser
	known     knownUsers

	tombstones tombstones
}

// Open is Attach and Write for a process that has the database for itself.
func Open(ctx context.Context, config Config) (*Store, error) {
	s, err := Attach(ctx, config)
	if err != nil {
		return nil, err
	}
	err = s.stopOrphans(ctx, "")
	if err == nil {
		err = s.Write(ctx, func() error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Attach connects to a database that other processes may use, too. Leases work at once, all else after Write or Follow.
func Attach(ctx context.Context, config Config) (*Store, error) {
	options, err := config.options()
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	conn, err := connect(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("connect to clickhouse: %w", err)
	}
	s := &Store{conn: conn, database: options.Auth.Database, log: config.Log, known: knownUsers{room: knownAtMost}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.execAll(ctx, leasesSQL); err != nil {
		return nil, errors.Join(fmt.Errorf("make the tables of leases: %w", err), conn.Close())
	}
	return s, nil
}

// connect opens the database. It is created first, if the user may do so: a greeting that asks for a database which is not
// there ends the process of the embedded ClickHouse (chdb 26.7).
func connect(ctx context.Context, options *clickhouse.Options) (driver.Conn, error) {
	err := createDatabase(ctx, *options)
	var refused *clickhouse.Exception
	if err != nil && !errors.As(err, &refused) {
		return nil, translated(ctx, err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, translated(ctx, err)
	}
	if err := conn.Ping(ctx); err != nil {
		return nil, errors.Join(translated(ctx, err), conn.Close())
	}
	return conn, nil
}

func createDatabase(ctx context.Context, options clickhouse.Options) error {
	name := options.Auth.Database
	options.Auth.Database = "default"
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS {name:Identifier}", clickhouse.Named("name", name))
}

// readVersions makes new versions larger than all stored ones, even when the system's clock was set back meanwhile.
func (s *Store) readVersions(ctx context.Context) error {
	newest, _, err := first(ctx, s, audience.Query{SQL: `
		SELECT max(version) FROM (
			SELECT max(version) AS version FROM profiles
			UNION ALL SELECT max(version) FROM resources
			UNION ALL SELECT max(version) FROM runs
			UNION ALL SELECT max(version) FROM deliveries
			UNION ALL SELECT max(version) FROM platform_audiences
			UNION ALL SELECT max(version) FROM stops
			UNION ALL SELECT max(version) FROM held_plans
			UNION ALL SELECT max(version) FROM moves
			UNION ALL SELECT max(version) FROM webhook_states
			UNION ALL SELECT max(version) FROM erasures
			UNION ALL SELECT max(version) FROM destination_healths)`,
	}, scanUint64)
	s.versions.startAfter(newest)
	return err
}

// Ping asks ClickHouse for a sign of life.
func (s *Store) Ping(ctx context.Context) error { return translated(ctx, s.conn.Ping(ctx)) }

// Close ends the writer, which finishes what it has begun, and the connections.
func (s *Store) Close() error {
	if s.writer != nil {
		s.writer.close()
	}
	return s.conn.Close()
}
