package warehouse

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// PutEdition makes an edition durable, by one row. A repeat is harmless.
func (s *Store) PutEdition(ctx context.Context, e *audience.Edition) error {
	definitions, err := json.Marshal(e.Definitions)
	if err == nil {
		err = s.insert(ctx, "editions (version, time, cause, definitions)",
			[]uint64{e.Version}, []int64{millis(e.Time)}, []string{e.Cause}, []string{string(definitions)})
	}
	if err != nil {
		return fmt.Errorf("store edition %d: %w", e.Version, err)
	}
	return nil
}

// Editions are all there ever were, the oldest first.
func (s *Store) Editions(ctx context.Context) ([]*audience.Edition, error) {
	if err := s.settle(ctx); err != nil { // one that was given up does not land later
		return nil, err
	}
	editions, err := all(stream(ctx, s, audience.Query{SQL: "SELECT version, time, cause, definitions FROM editions FINAL ORDER BY version"}, scanEdition))
	if err != nil {
		return nil, fmt.Errorf("read editions: %w", err)
	}
	return editions, nil
}

func scanEdition(rows driver.Rows) (*audience.Edition, error) {
	var (
		version     uint64
		at          time.Time
		cause, text string
		definitions []audience.Definition
	)
	if err := rows.Scan(&version, &at, &cause, &text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &definitions); err != nil {
		return nil, fmt.Errorf("stored edition %d: %w", version, err)
	}
	edition := audience.NewEdition(definitions)
	edition.Version, edition.Time, edition.Cause = version, orZero(at), cause
	return edition, nil
}

// Turned yields up to limit users (0: all) behind one, by UserID, whom the renumbering of segments at a version of the log
// moves: as of it they hold one of the two numbers. Their segments are right for the numbers named. It reads the log up to
// that version.
func (s *Store) Turned(ctx context.Context, version uint64, renumbered []audience.Renumbered, after audience.UserID, limit int) iter.Seq2[audience.Membership, error] {
	pairs, numbers := make([]string, len(renumbered)), make([]uint32, 0, 2*len(renumbered))
	for i, r := range renumbered {
		pairs[i] = fmt.Sprintf("(%d, %d)", r.Before, r.After)
		numbers = append(numbers, uint32(r.Before), uint32(r.After))
	}
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, argMax(segments, version) AS held, max(version) FROM membership_changes
			WHERE version <= {version:UInt64} AND user_id > {after:String}
				AND (hasAny(entered, {numbers:Array(UInt32)}) OR hasAny(left, {numbers:Array(UInt32)}))
			GROUP BY user_id
			HAVING arrayExists(pair -> has(held, pair.1) != has(held, pair.2), CAST([` + strings.Join(pairs, ", ") + `], 'Array(Tuple(UInt32, UInt32))'))
			ORDER BY user_id` + limited(limit),
		Params: map[string]any{"version": version, "after": string(after), "numbers": numbers},
	}, scanMembership)
}

// Without yields the users on record who hold one of the numbers, by UserID, as the change by which they do no more, without
// version, time and cause.
func (s *Store) Without(ctx context.Context, gone []audience.Number) iter.Seq2[audience.Change, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT user_id, arrayFilter(n -> NOT has({gone:Array(UInt32)}, n), segments) AS kept, segments FROM members FINAL
			WHERE hasAny(segments, {gone:Array(UInt32)}) ORDER BY user_id`,
		Params: map[string]any{"gone": uint32s(gone)},
	}, func(rows driver.Rows) (audience.Change, error) {
		var user string
		var kept, held []uint32
		err := rows.Scan(&user, &kept, &held)
		return audience.ChangeOf(audience.UserID(user), numbers(held), numbers(kept)), err
	})
}
