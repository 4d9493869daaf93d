package warehouse

import (
	"context"
	_ "embed"
	"iter"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/diff.sql
var diffSQL string

// Diff compares the membership of everybody that q computes (rows of user_id String, segments Array(UInt32), ascending;
// each user once) with the one on record and yields the users where they differ, by UserID, without version, time and
// cause. Users on record whom q does not name hold no segment.
func (s *Store) Diff(ctx context.Context, q audience.Query) iter.Seq2[audience.Change, error] {
	return stream(ctx, s, audience.Query{SQL: strings.Replace(diffSQL, "{query}", q.SQL, 1), Params: q.Params},
		func(rows driver.Rows) (audience.Change, error) {
			var user string
			var computed, recorded []uint32
			err := rows.Scan(&user, &computed, &recorded)
			return audience.ChangeOf(audience.UserID(user), numbers(recorded), numbers(computed)), err
		})
}
