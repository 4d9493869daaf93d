package warehouse

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/kohorta/kohorta/internal/audience"
)

// WriteEvents stores the events, which have passed Validate, and reports for each whether the user already had an event
// of that id: a repeat is not stored, whatever it carries; of repeats among the events the first one stands. When it
// returns without error, every event that is no repeat is durable. After an error some may be stored: call again with
// the same events. The events must not be changed afterwards.
func (s *Store) WriteEvents(ctx context.Context, events []audience.Event) (duplicate []bool, err error) {
	if err := s.MayWrite(); err != nil {
		return nil, err
	}
	duplicate = make([]bool, 0, len(events))
	for len(events) > 0 {
		part := events[:min(len(events), groupRows)]
		events = events[len(part):]
		repeats, err := s.writer.write(ctx, columnsOf(part))
		if err != nil {
			return nil, fmt.Errorf("write events: %w", err)
		}
		duplicate = append(duplicate, repeats...)
	}
	return duplicate, nil
}

// eventColumns are events as ClickHouse takes them, column by column, and the hash of each (user, event id).
type eventColumns struct {
	users, ids, types []string
	times             []int64 // milliseconds since 1970
	values            []int64
	texts             []map[string]string
	numbers           []map[string]float64
	hashes            []uint64
}

const eventsInto = "events (user_id, event_id, type, time, value_micros, texts, numbers, batch)"

func newEventColumns(n int) *eventColumns {
	return &eventColumns{
		users: make([]string, 0, n), ids: make([]string, 0, n), types: make([]string, 0, n),
		times: make([]int64, 0, n), values: make([]int64, 0, n),
		texts: make([]map[string]string, 0, n), numbers: make([]map[string]float64, 0, n),
		hashes: make([]uint64, 0, n),
	}
}

func columnsOf(events []audience.Event) *eventColumns {
	c := newEventColumns(len(events))
	var key []byte
	for i := range events {
		e := &events[i]
		key = append(append(append(key[:0], e.User...), 0), e.ID...)
		c.users, c.ids, c.types = append(c.users, string(e.User)), append(c.ids, e.ID), append(c.types, e.Type)
		c.times, c.values = append(c.times, e.Time.UnixMilli()), append(c.values, e.ValueMicros)
		c.texts, c.numbers = append(c.texts, e.Texts), append(c.numbers, e.Numbers)
		c.hashes = append(c.hashes, xxhash.Sum64(key))
	}
	return c
}

func (c *eventColumns) len() int { return len(c.users) }

// add appends the rows of other for which keep holds.
func (c *eventColumns) add(other *eventColumns, keep func(i int) bool) {
	for i := range other.users {
		if keep(i) {
			c.users, c.ids, c.types = append(c.users, other.users[i]), append(c.ids, other.ids[i]), append(c.types, other.types[i])
			c.times, c.values = append(c.times, other.times[i]), append(c.values, other.values[i])
			c.texts, c.numbers = append(c.texts, other.texts[i]), append(c.numbers, other.numbers[i])
			c.hashes = append(c.hashes, other.hashes[i])
		}
	}
}

// distinctUsers are the users of the rows, each once.
func (c *eventColumns) distinctUsers() []string {
	known := make(map[string]struct{}, len(c.users)/2)
	users := make([]string, 0, len(c.users)/2)
	for _, user := range c.users {
		if _, repeated := known[user]; !repeated {
			known[user] = struct{}{}
			users = append(users, user)
		}
	}
	return users
}
