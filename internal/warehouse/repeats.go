package warehouse

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/kohorta/kohorta/internal/audience"
)

var errClosed = errors.New("the store is closed")

// eventKey is what makes an event one: a user has it once.
type eventKey struct{ user, id string }

// Where a stored event of an asked key may stand.
const (
	// A repeat usually says the same again: it is found in its own place.
	inPlace = "(type, user_id, time, event_id) IN (SELECT type, user_id, time, event_id FROM asked)"
	// One of another type or time is found by the user, within each type and month there is.
	anywhere = "(user_id, event_id) IN (SELECT user_id, event_id FROM asked)"
)

// repeats says which rows repeat a stored event or an earlier row. Memory answers for almost all rows; the few it is not
// sure of are looked up.
func (w *eventWriter) repeats(ctx context.Context, rows *eventColumns) ([]bool, error) {
	duplicate := make([]bool, rows.len())
	maybe := map[int]bool{}     // rows that memory is not sure of
	unsure := map[uint64]bool{} // their hashes
	for i, hash := range rows.hashes {
		if w.maybeSeen(hash) {
			maybe[i], unsure[hash] = true, true
		}
	}
	if len(unsure) == 0 {
		return duplicate, nil
	}
	first := map[eventKey]int{} // row of the batch
	asked := map[eventKey]int{} // those of them that may be stored already
	for i, hash := range rows.hashes {
		if !unsure[hash] {
			continue
		}
		key := eventKey{rows.users[i], rows.ids[i]}
		if _, repeated := first[key]; repeated {
			duplicate[i] = true
			continue
		}
		first[key] = i
		if maybe[i] {
			asked[key] = i
		}
	}
	for _, condition := range []string{inPlace, anywhere} {
		if err := w.store.lookUp(ctx, rows, asked, condition, func(key eventKey) {
			duplicate[asked[key]] = true
			delete(asked, key)
		}); err != nil {
			return nil, err
		}
	}
	return duplicate, nil
}

// lookUp calls found for each of the asked keys with a stored event for which condition, on the table asked, holds.
func (s *Store) lookUp(ctx context.Context, rows *eventColumns, asked map[eventKey]int, condition string, found func(eventKey)) error {
	if len(asked) == 0 {
		return nil
	}
	table, err := ext.NewTable("asked",
		ext.Column("type", column.Type("String")), ext.Column("user_id", column.Type("String")),
		ext.Column("time", column.Type("DateTime64(3, 'UTC')")), ext.Column("event_id", column.Type("String")))
	if err != nil {
		return err
	}
	for _, i := range asked {
		if err := table.Append(rows.types[i], rows.users[i], time.UnixMilli(rows.times[i]), rows.ids[i]); err != nil {
			return err
		}
	}
	return s.Select(clickhouse.Context(ctx, clickhouse.WithExternalTable(table)),
		audience.Query{SQL: "SELECT DISTINCT user_id, event_id FROM events WHERE " + condition},
		func(scan func(...any) error) error {
			var key eventKey
			if err := scan(&key.user, &key.id); err != nil {
				return err
			}
			found(key)
			return nil
		})
}
