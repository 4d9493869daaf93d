package live

import (
	"context"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
)

// coalescer sends reads that wait at the same time to Redis in one batch. No read waits for others: one that finds no batch
// under way is sent at once, and those that arrive meanwhile are the next batch. The round trip to Redis is what a lookup
// costs beyond an empty call, so a second batch is sent beside the first only when it is full.
type coalescer struct {
	mu       sync.Mutex
	waiting  []*waiter
	inFlight int
	done     sync.WaitGroup
}

const (
	mostInFlight = 4   // batches under way
	mostTogether = 256 // users in a batch: about 10 kB each way
)

type waiter struct {
	user   audience.UserID
	answer chan struct{}
	got    audience.Membership
	err    error
}

// get is Store.Get.
func (c *coalescer) get(ctx context.Context, s *Store, user audience.UserID) (audience.Membership, error) {
	w := &waiter{user: user, answer: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
	if c.inFlight == 0 || len(c.waiting) >= mostTogether && c.inFlight < mostInFlight {
		c.inFlight++
		c.done.Go(func() { c.run(s) })
	}
	c.mu.Unlock()
	select {
	case <-w.answer:
		return w.got, w.err
	case <-ctx.Done():
		return audience.Membership{}, s.translate(ctx, ctx.Err())
	}
}

// run sends batches until nobody waits.
func (c *coalescer) run(s *Store) {
	for {
		c.mu.Lock()
		n := min(len(c.waiting), mostTogether)
		if n == 0 {
			c.inFlight--
			c.mu.Unlock()
			return
		}
		batch := c.waiting[:n:n]
		c.waiting = c.waiting[n:]
		c.mu.Unlock()
		s.answer(batch)
	}
}

// answer reads a batch and wakes its readers. It is not cancelled by theirs giving up.
func (s *Store) answer(batch []*waiter) {
	users := make([]audience.UserID, len(batch))
	for i, w := range batch {
		users[i] = w.user
	}
	got, err := s.Batch(context.Background(), users)
	for i, w := range batch {
		if w.err = err; err == nil {
			w.got = got[i]
		}
		close(w.answer)
	}
}

// wait returns once no batch is under way.
func (c *coalescer) wait() { c.done.Wait() }
