package warehouse

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate applies the files of migrations/ that the database has not seen, in the order of their names. ClickHouse has
// no transactions over definitions: every statement can be repeated (IF NOT EXISTS), and a file counts once all ran.
func (s *Store) migrate(ctx context.Context) error {
	missing, err := s.missingMigrations(ctx)
	if err != nil {
		return err
	}
	for _, name := range missing {
		if err := s.apply(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.insert(ctx, "schema_migrations (name, time)", []string{name}, []int64{millis(time.Now())}); err != nil {
			return err
		}
		s.log.Info("migration applied", "name", name)
	}
	return nil
}

// missingMigrations are the files that the database has not seen, in their order.
func (s *Store) missingMigrations(ctx context.Context) ([]string, error) {
	if err := s.Exec(ctx, audience.Query{SQL: `
		CREATE TABLE IF NOT EXISTS schema_migrations (name String, time DateTime64(3, 'UTC'))
		ENGINE = MergeTree ORDER BY name`}); err != nil {
		return nil, err
	}
	applied, err := all(stream(ctx, s, audience.Query{SQL: "SELECT DISTINCT name FROM schema_migrations"},
		func(rows driver.Rows) (name string, err error) { return name, rows.Scan(&name) }))
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, name := range applied {
		if !slices.Contains(files, "migrations/"+name) {
			return nil, fmt.Errorf("the database has migration %s, which this version of kohorta does not know; start the newer version: %w", name, audience.ErrPrecondition)
		}
	}
	var missing []string
	for _, file := range files {
		if name := strings.TrimPrefix(file, "migrations/"); !slices.Contains(applied, name) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// apply runs the statements of a file.
func (s *Store) apply(ctx context.Context, name string) error {
	text, err := migrations.ReadFile("migrations/" + name)
	if err != nil {
		return err
	}
	return s.execAll(ctx, string(text))
}

// execAll runs several statements; one ends with ";" at a line's end.
func (s *Store) execAll(ctx context.Context, text string) error {
	for statement := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := s.Exec(ctx, audience.Query{SQL: statement}); err != nil {
			return err
		}
	}
	return nil
}
