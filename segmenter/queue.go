package segmenter

import (
	"context"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// queue holds the users to evaluate, in the order in which they were touched, each once. It is bounded by the number of
// users there are.
type queue struct {
	mu      sync.Mutex
	touches uint64                     // so far; a touch is known by its number, from 1
	waiting []touched                  // by touch
	causes  map[audience.UserID]string // of those waiting
	urgent  []*urgent
	wake    chan struct{} // holds one signal

	done  uint64 // every touch up to it is evaluated
	moved chan struct{}
}

// touched is a user who waits.
type touched struct {
	user  audience.UserID
	touch uint64
	since time.Time
}

// urgent is a user who is evaluated ahead of the queue, and whose evaluation a caller waits for.
type urgent struct {
	user  audience.UserID
	cause string
	done  chan error // holds one answer
}

// step is the users of one evaluation.
type step struct {
	causes  map[audience.UserID]string
	urgent  []*urgent
	through uint64 // every touch up to it is evaluated with this step; 0 when it holds urgent users only
}

func newQueue() queue {
	return queue{causes: map[audience.UserID]string{}, wake: make(chan struct{}, 1), moved: make(chan struct{})}
}

// touch adds users and returns the touch's number.
func (q *queue) touch(users []audience.UserID, cause string) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.signal() // otherwise the loop knows that users wait
	}
	q.touches++
	now := time.Now()
	for _, user := range users {
		if _, waits := q.causes[user]; !waits {
			q.causes[user] = cause
			q.waiting = append(q.waiting, touched{user, q.touches, now})
		}
	}
	return q.touches
}

// hurry adds a user ahead of all who wait.
func (q *queue) hurry(user audience.UserID, cause string) *urgent {
	u := &urgent{user: user, cause: cause, done: make(chan error, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urgent = append(q.urgent, u)
	q.signal()
	return u
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// state says whether anybody is urgent, how many wait, and since when the first of them.
func (q *queue) state() (hurry bool, waiting int, since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		since = q.waiting[0].since
	}
	// A touch of nobody waits, too, for its number to be done.
	return len(q.urgent) > 0, max(len(q.waiting), int(min(q.touches-q.done, 1))), since
}

// take removes the urgent users and, if asked, up to most of those who wait.
func (q *queue) take(most int, alsoWaiting bool) step {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := step{causes: make(map[audience.UserID]string), urgent: q.urgent}
	q.urgent = nil
	if alsoWaiting {
		n := min(most, len(q.waiting))
		for _, t := range q.waiting[:n] {
			taken.causes[t.user] = q.causes[t.user]
			delete(q.causes, t.user)
		}
		taken.through = q.touches
		if q.waiting = q.waiting[n:]; len(q.waiting) > 0 {
			taken.through = q.waiting[0].touch - 1
		}
	}
	for _, u := range taken.urgent {
		taken.causes[u.user] = u.cause
	}
	return taken
}

// finish records that a step's users are evaluated.
func (q *queue) finish(s step) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.through > q.done {
		q.done = s.through
		close(q.moved)
		q.moved = make(chan struct{})
	}
}

// await returns once every touch up to a number is evaluated.
func (q *queue) await(ctx context.Context, touch uint64) error {
	for {
		q.mu.Lock()
		done, moved := q.done, q.moved
		q.mu.Unlock()
		if done >= touch {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
