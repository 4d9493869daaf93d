package live

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// stopsTogether is how many users one message names: some 100 kB.
const stopsTogether = 1000

// TellStops tells the processes that share this Redis that users may have to be stopped. A process that is not listening
// misses it.
func (s *Store) TellStops(ctx context.Context, users []audience.UserID) error {
	for some := range slices.Chunk(users, stopsTogether) {
		message, err := json.Marshal(some)
		if err != nil {
			return fmt.Errorf("name users to stop: %w", err)
		}
		if err := s.redis.Publish(ctx, s.keys.stops(), message).Err(); err != nil {
			return s.translate(ctx, err)
		}
	}
	return nil
}

// HearStops calls hear with the users of each TellStops, until ctx ends. While Redis is away it hears nothing.
func (s *Store) HearStops(ctx context.Context, hear func([]audience.UserID)) error {
	told := s.redis.Subscribe(ctx, s.keys.stops())
	stop := context.AfterFunc(ctx, func() { _ = told.Close() }) // a read that waits does not look at ctx
	defer func() {
		if stop() {
			_ = told.Close()
		}
	}()
	for ctx.Err() == nil {
		message, err := told.ReceiveMessage(ctx)
		if err != nil { // the driver connects again
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
			continue
		}
		var users []audience.UserID
		if err := json.Unmarshal([]byte(message.Payload), &users); err != nil {
			s.log.Warn("a message about users to stop cannot be read", "error", err)
			continue
		}
		hear(users)
	}
	return nil
}
