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
	if err := s.Exec(ctx, audience.Query{SQL: `
		CREATE TABLE IF NOT EXISTS schema_migrations (name String, time DateTime64(3, 'UTC'))
		ENGINE = MergeTree ORDER BY name`}); err != nil {
		return err
	}
	applied, err := all(stream(ctx, s, audience.Query{SQL: "SELECT DISTINCT name FROM schema_migrations"},
		func(rows driver.Rows) (name string, err error) { return name, rows.Scan(&name) }))
	if err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, name := range applied {
		if !slices.Contains(files, "migrations/"+name) {
			return fmt.Errorf("the database has migration %s, which this version of kohorta does not know; start the newer version: %w", name, audience.ErrPrecondition)
		}
	}
	for _, file := range files {
		name := strings.TrimPrefix(file, "migrations/")
		if slices.Contains(applied, name) {
			continue
		}
		if err := s.apply(ctx, file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.insert(ctx, "schema_migrations (name, time)", []string{name}, []int64{millis(time.Now())}); err != nil {
			return err
		}
		s.log.Info("migration applied", "name", name)
	}
	return nil
}

// apply runs the statements of a file; one ends with ";" at a line's end.
func (s *Store) apply(ctx context.Context, file string) error {
	text, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := s.Exec(ctx, audience.Query{SQL: statement}); err != nil {
			return err
		}
	}
	return nil
}
