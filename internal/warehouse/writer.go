package warehouse

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// groupRows is how many rows wait for one INSERT at most: enough that its fixed cost does not count.
const groupRows = 100_000

// eventWriter is the one place where events are written: one goroutine takes what callers hand in together, drops the
// repeats and makes one INSERT of the rest. That nobody else writes is what makes its answer "not seen yet" exact.
type eventWriter struct {
	store    *Store
	requests chan *eventRequest
	stop     context.CancelFunc
	stopped  chan struct{}

	since   seen                       // events written since the start, by this goroutine only
	history atomic.Pointer[seenFilter] // events from before; nil until it is filled
}

// eventRequest is one caller's rows and, once done is closed, the answer.
type eventRequest struct {
	ctx       context.Context
	rows      *eventColumns
	duplicate []bool
	err       error
	done      chan struct{}
}

func (s *Store) startWriter(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	s.writer = &eventWriter{store: s, requests: make(chan *eventRequest), stop: stop, stopped: make(chan struct{})}
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		s.writer.fillHistory(ctx)
	}()
	go func() {
		defer close(s.writer.stopped)
		s.writer.run(ctx)
		<-filled
	}()
	return nil
}

// close lets the group that is being written finish; callers who still wait are told that the store is closed.
func (w *eventWriter) close() {
	w.stop()
	<-w.stopped
}

// write hands rows to the writer and waits for their fate. When ctx ends first, that fate stays unknown to the caller.
func (w *eventWriter) write(ctx context.Context, rows *eventColumns) (duplicate []bool, err error) {
	request := &eventRequest{ctx: ctx, rows: rows, done: make(chan struct{})}
	select {
	case w.requests <- request:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-w.stopped:
		return nil, unavailable(time.Second, errClosed)
	}
	select {
	case <-request.done:
		return request.duplicate, request.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (w *eventWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case request := <-w.requests:
			w.writeGroup(w.gather(request))
		}
	}
}

// gather takes the requests that wait already, up to groupRows; those whose caller has gone are left out.
func (w *eventWriter) gather(request *eventRequest) []*eventRequest {
	group, rows := []*eventRequest{request}, request.rows.len()
	for rows < groupRows {
		select {
		case request := <-w.requests:
			group, rows = append(group, request), rows+request.rows.len()
			continue
		default:
		}
		break
	}
	return slices.DeleteFunc(group, func(r *eventRequest) bool {
		if r.err = context.Cause(r.ctx); r.err != nil {
			close(r.done)
		}
		return r.err != nil
	})
}

// writeGroup writes the rows of a group as one INSERT and answers every request.
func (w *eventWriter) writeGroup(group []*eventRequest) {
	if len(group) == 0 {
		return
	}
	rows := group[0].rows
	if len(group) > 1 {
		rows = newEventColumns(0)
		for _, request := range group {
			rows.add(request.rows, func(int) bool { return true })
		}
	}
	duplicate, err := w.writeRows(rows)
	for _, request := range group {
		request.err = err
		if err == nil {
			n := request.rows.len()
			request.duplicate, duplicate = duplicate[:n:n], duplicate[n:]
		}
		close(request.done)
	}
}

// writeRows stores the rows that are no repeats. Users come first: an event of somebody who is not among the users
// would be missing from segments.
func (w *eventWriter) writeRows(rows *eventColumns) (duplicate []bool, err error) {
	ctx := context.Background() // callers come and go; the group is written for all of them
	if err := w.store.settle(ctx); err != nil {
		return nil, err
	}
	if err := w.store.completeEvents(ctx); err != nil {
		return nil, err
	}
	duplicate, err = w.repeats(ctx, rows)
	if err != nil {
		return nil, err
	}
	w.store.tombstones.mu.RLock()
	defer w.store.tombstones.mu.RUnlock()
	// An event of a user who was erased a moment ago is gone before it was stored.
	erased := func(user string) bool { return w.store.tombstones.has(audience.UserID(user)) }
	if slices.Contains(duplicate, true) || slices.ContainsFunc(rows.users, erased) {
		fresh := newEventColumns(0)
		fresh.add(rows, func(i int) bool { return !duplicate[i] && !erased(rows.users[i]) })
		rows = fresh
	}
	if rows.len() == 0 {
		return duplicate, nil
	}
	if err := w.store.makeKnown(ctx, rows.distinctUsers()); err != nil {
		return nil, err
	}
	batch := w.store.versions.next()
	if err := w.store.insert(ctx, eventsInto,
		rows.users, rows.ids, rows.types, rows.times, rows.values, rows.texts, rows.numbers, slices.Repeat([]uint64{batch}, rows.len())); err != nil {
		w.store.batchFailed(batch)
		return nil, err
	}
	return duplicate, nil
}

// fillHistory learns the events from before the start. Until it has, every row is looked up in ClickHouse.
func (w *eventWriter) fillHistory(ctx context.Context) {
	for {
		history, err := w.store.history(ctx)
		if err == nil {
			w.history.Store(history)
			return
		}
		w.store.log.Warn("events could not be read to tell repeats from new ones fast; trying again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// history is a filter of all events in ClickHouse.
func (s *Store) history(ctx context.Context) (*seenFilter, error) {
	events, _, err := first(ctx, s, audience.Query{SQL: "SELECT count() FROM events"}, scanUint64)
	if err != nil {
		return nil, err
	}
	filter := newSeenFilter(int(events))
	err = s.Select(ctx, audience.Query{SQL: `SELECT xxHash64(concat(user_id, '\0', event_id)) FROM events`},
		func(scan func(...any) error) error {
			var hash uint64
			err := scan(&hash)
			filter.add(hash)
			return err
		})
	return &filter, err
}

// maybeSeen reports whether an event of this hash may be stored, and counts it as stored from now on.
func (w *eventWriter) maybeSeen(hash uint64) bool {
	history := w.history.Load()
	return w.since.add(hash) || history == nil || history.has(hash)
}
