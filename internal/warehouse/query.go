package warehouse

import (
	"context"
	"iter"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Exec runs a statement that gives no rows, such as INSERT … SELECT.
func (s *Store) Exec(ctx context.Context, q audience.Query) error {
	return translated(ctx, s.conn.Exec(ctx, q.SQL, named(q.Params)...))
}

// Select calls each once a row; scan fills pointers in the order of the columns. It stops at the first error.
func (s *Store) Select(ctx context.Context, q audience.Query, each func(scan func(dest ...any) error) error) error {
	for rows, err := range s.rows(ctx, q) {
		if err != nil {
			return err
		}
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return nil
}

// rows yields the result of a query, standing at one row after the other. Breaking off cancels the query.
func (s *Store) rows(ctx context.Context, q audience.Query) iter.Seq2[driver.Rows, error] {
	return func(yield func(driver.Rows, error) bool) {
		queryCtx, cancel := context.WithCancel(ctx)
		rows, err := s.conn.Query(queryCtx, q.SQL, named(q.Params)...)
		if err != nil {
			cancel()
			yield(nil, translated(ctx, err))
			return
		}
		defer func() {
			cancel() // first: Close would read the rest
			_ = rows.Close()
		}()
		for rows.Next() {
			if !yield(rows, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, translated(ctx, err))
		}
	}
}

// stream yields each row of a query as what scan makes of it, and stops at the first error.
func stream[T any](ctx context.Context, s *Store, q audience.Query, scan func(driver.Rows) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for rows, err := range s.rows(ctx, q) {
			if err != nil {
				yield(none, err)
				return
			}
			row, err := scan(rows)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// first is the first row of a query that has few; found is false when it has none.
func first[T any](ctx context.Context, s *Store, q audience.Query, scan func(driver.Rows) (T, error)) (row T, found bool, err error) {
	rows, err := all(stream(ctx, s, q, scan)) // to its end: breaking off costs the connection
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// all collects a stream whose size is bounded elsewhere.
func all[T any](rows iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, nil
}

func scanUint64(rows driver.Rows) (value uint64, err error) { return value, rows.Scan(&value) }

// withUsers gives a query the table "asked (user_id String)": set membership by it uses the primary key.
func withUsers(ctx context.Context, users []audience.UserID) (context.Context, error) {
	asked, err := ext.NewTable("asked", ext.Column("user_id", column.Type("String")))
	if err != nil {
		return nil, err
	}
	for _, user := range users {
		if err := asked.Append(string(user)); err != nil {
			return nil, err
		}
	}
	return clickhouse.Context(ctx, clickhouse.WithExternalTable(asked)), nil
}

func named(params map[string]any) []any {
	args := make([]any, 0, len(params))
	for name, value := range params {
		args = append(args, clickhouse.Named(name, value))
	}
	return args
}
