package warehouse

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// latestTimer bounds what is worth keeping: every start evaluates everybody.
var latestTimer = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// AddTimers keeps timers, but for those of users erased meanwhile; a repeat is harmless.
func (s *Store) AddTimers(ctx context.Context, timers []audience.Timer) error {
	s.tombstones.mu.RLock()
	defer s.tombstones.mu.RUnlock()
	dues, users := make([]int64, 0, len(timers)), make([]string, 0, len(timers))
	for _, timer := range timers {
		if timer.Due.Before(latestTimer) && !s.tombstones.has(timer.User) {
			dues, users = append(dues, millis(timer.Due)), append(users, string(timer.User))
		}
	}
	if len(users) == 0 {
		return nil
	}
	if err := s.insert(ctx, "timers (due, user_id)", dues, users); err != nil {
		return fmt.Errorf("keep %d timers: %w", len(users), err)
	}
	return nil
}

// AddStagedTimers keeps the timers of a staged evaluation.
func (s *Store) AddStagedTimers(ctx context.Context, staged string) error {
	err := s.Exec(ctx, audience.Query{
		SQL: "INSERT INTO timers (due, user_id) SELECT fromUnixTimestamp64Milli(due, 'UTC'), user_id FROM " + staged +
			" WHERE due > 0 AND due < {latest:Int64}",
		Params: map[string]any{"latest": latestTimer.UnixMilli()},
	})
	if err != nil {
		return fmt.Errorf("keep the timers of an evaluation: %w", err)
	}
	return nil
}

// DropTimers removes the timers due up to an instant, some time after it has returned.
func (s *Store) DropTimers(ctx context.Context, until time.Time) error {
	return s.Exec(ctx, audience.Query{
		SQL:    "DELETE FROM timers WHERE due <= fromUnixTimestamp64Milli({until:Int64}, 'UTC') SETTINGS lightweight_deletes_sync = 0",
		Params: map[string]any{"until": until.UnixMilli()},
	})
}

// Timers yields the timers due after an instant and not after another, the first due first. Only these are read.
func (s *Store) Timers(ctx context.Context, after, until time.Time) iter.Seq2[audience.Timer, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT DISTINCT due, user_id FROM timers
			WHERE due > fromUnixTimestamp64Milli({after:Int64}, 'UTC') AND due <= fromUnixTimestamp64Milli({until:Int64}, 'UTC') ORDER BY due`,
		Params: map[string]any{"after": after.UnixMilli(), "until": until.UnixMilli()},
	}, func(rows driver.Rows) (timer audience.Timer, err error) {
		var user string
		err = rows.Scan(&timer.Due, &user)
		timer.User = audience.UserID(user)
		return timer, err
	})
}
