package warehouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// AddDeadLetters keeps changes that a receiver did not accept. Adding one again is harmless.
func (s *Store) AddDeadLetters(ctx context.Context, webhook audience.Number, letters []audience.DeadLetter) error {
	n := len(letters)
	var (
		webhooks       = make([]uint32, n)
		versions       = make([]uint64, n)
		users, ids     = make([]string, n), make([]string, n)
		changes, words = make([]string, n), make([]string, n)
		times          = make([]int64, n)
	)
	for i, letter := range letters {
		webhooks[i], versions[i], users[i], ids[i] = uint32(webhook), letter.Version, string(letter.User), letter.ID
		changes[i], words[i], times[i] = string(letter.Change), letter.Reason, millis(letter.Time)
	}
	if err := s.insert(ctx, "dead_letters (webhook, version, user_id, id, change, reason, time)",
		webhooks, versions, users, ids, changes, words, times); err != nil {
		return fmt.Errorf("keep %d dead letters: %w", n, err)
	}
	return nil
}

// DeadLetters are up to limit dead letters of a webhook behind a place in the log, in its order; with ids, those only.
func (s *Store) DeadLetters(ctx context.Context, webhook audience.Number, version uint64, user audience.UserID, ids []string, limit int) ([]audience.DeadLetter, error) {
	where := ""
	if len(ids) > 0 {
		where = " AND has({ids:Array(String)}, id)"
	}
	letters, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT id, user_id, version, change, reason, time FROM dead_letters FINAL
			WHERE webhook = {webhook:UInt32} AND (version, user_id) > ({version:UInt64}, {user:String})` + where + ` ORDER BY version, user_id` + limited(limit),
		Params: map[string]any{"webhook": uint32(webhook), "version": version, "user": string(user), "ids": ids},
	}, func(rows driver.Rows) (letter audience.DeadLetter, err error) {
		var user, change string
		err = rows.Scan(&letter.ID, &user, &letter.Version, &change, &letter.Reason, &letter.Time)
		letter.User, letter.Change, letter.Time = audience.UserID(user), []byte(change), letter.Time.UTC()
		return letter, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return letters, nil
}

// CountDeadLetters is how many dead letters each webhook has; those without any are missing.
func (s *Store) CountDeadLetters(ctx context.Context) (map[audience.Number]int64, error) {
	counts := map[audience.Number]int64{}
	err := s.Select(ctx, audience.Query{SQL: "SELECT webhook, toInt64(count()) FROM dead_letters FINAL GROUP BY webhook"},
		func(scan func(...any) error) error {
			var webhook uint32
			var count int64
			err := scan(&webhook, &count)
			counts[audience.Number(webhook)] = count
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	return counts, nil
}

// DropDeadLetters deletes dead letters of a webhook: those of the ids, or all of them when ids is nil.
func (s *Store) DropDeadLetters(ctx context.Context, webhook audience.Number, ids []string) error {
	where, params := "", map[string]any{"webhook": uint32(webhook)}
	if ids != nil {
		where, params["ids"] = " AND has({ids:Array(String)}, id)", ids
	}
	if err := s.Exec(ctx, audience.Query{SQL: "DELETE FROM dead_letters WHERE webhook = {webhook:UInt32}" + where, Params: params}); err != nil {
		return fmt.Errorf("drop dead letters: %w", err)
	}
	return nil
}
