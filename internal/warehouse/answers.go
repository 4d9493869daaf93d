package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Remember keeps the answer to a request for 24 hours, so that a repeat of it can be answered alike.
func (s *Store) Remember(ctx context.Context, call, requestID string, answer []byte) error {
	if err := s.insert(ctx, "answers (call, request_id, answer, time)",
		[]string{call}, []string{requestID}, []string{string(answer)}, []int64{millis(time.Now())}); err != nil {
		return fmt.Errorf("remember the answer to %s: %w", call, err)
	}
	return nil
}

// Recall gives the answer remembered for a request of the last 24 hours; found is false when there is none.
func (s *Store) Recall(ctx context.Context, call, requestID string) (answer []byte, found bool, err error) {
	text, found, err := first(ctx, s, audience.Query{
		SQL: `SELECT answer FROM answers FINAL
			WHERE call = {call:String} AND request_id = {request_id:String} AND time > now64(3) - INTERVAL 1 DAY`,
		Params: map[string]any{"call": call, "request_id": requestID},
	}, func(rows driver.Rows) (text string, err error) { return text, rows.Scan(&text) })
	if err != nil {
		return nil, false, fmt.Errorf("recall the answer to %s: %w", call, err)
	}
	return []byte(text), found, nil
}
