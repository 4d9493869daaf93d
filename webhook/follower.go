package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
)

const (
	// saveEvery is how often a place that moves on is made durable: what was told since is told again after a crash.
	saveEvery = time.Second
	// mostSeen bounds the changes among which those of one batch are looked for.
	mostSeen = 10_000
	// endTimeout bounds the last writing of a place.
	endTimeout = 5 * time.Second
)

// errGone ends a follower whose receiver has answered 410.
var errGone = errors.New("the receiver is gone")

// follower tells one receiver what happens, from its place on. Its methods but status are for its own goroutine.
type follower struct {
	*Sender
	webhook audience.Webhook
	wanted  map[audience.SegmentID]bool // none: all
	keys    keyFile
	log     *slog.Logger
	stop    context.CancelFunc
	ended   chan struct{}

	saved   time.Time // when the place was last made durable
	unsaved bool      // it has moved on since

	shown  sync.Mutex // guards what status shows
	state  audience.WebhookState
	oldest time.Time // of the changes being told; zero: none are
}

// startFollower follows a webhook until it is stopped or ctx ends; ended is closed then.
func startFollower(ctx context.Context, s *Sender, webhook audience.Webhook) *follower {
	ctx, stop := context.WithCancel(ctx)
	f := &follower{
		Sender: s, webhook: webhook, wanted: map[audience.SegmentID]bool{}, stop: stop, ended: make(chan struct{}),
		log: s.Log.With("webhook", webhook.ID),
	}
	f.keys = newKeyFile(s.SecretPath(webhook.Secret), f.log)
	for _, id := range webhook.Segments {
		f.wanted[id] = true
	}
	go f.run(ctx)
	return f
}

// status is how the receiver answers, and how old the oldest change is that it has not accepted.
func (f *follower) status() (state audience.WebhookState, lag time.Duration) {
	f.shown.Lock()
	defer f.shown.Unlock()
	if !f.oldest.IsZero() {
		lag = max(f.Now().Sub(f.oldest), 0)
	}
	return f.state, lag
}

// show changes what status shows.
func (f *follower) show(change func()) {
	f.shown.Lock()
	defer f.shown.Unlock()
	change()
}

// run follows again and again, whatever fails on this side.
func (f *follower) run(ctx context.Context) {
	defer close(f.ended)
	defer f.stop()
	for failures := 0; ctx.Err() == nil; {
		err := f.follow(ctx, &failures)
		if errors.Is(err, errGone) {
			return
		}
		if ctx.Err() != nil {
			break
		}
		failures++
		wait := f.pause.After(failures)
		f.log.Warn("webhook falls behind; trying again", "error", err, "pause", wait)
		_ = pause.For(ctx, wait) // the end of ctx is seen above
	}
	if f.unsaved {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if err := f.save(ctx); err != nil {
			f.log.Warn("the place of a webhook not kept; what was told last is told again", "error", err)
		}
	}
}

// follow tells what happens from the place on, until ctx ends or something on this side fails; failures is reset when
// something was told.
func (f *follower) follow(ctx context.Context, failures *int) error {
	if err := f.resume(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	size := cmp.Or(f.webhook.Batch, audience.DefaultWebhookBatch)
	stream, broken := make(chan audience.WatchedChange, size), make(chan error, 1)
	go func(cursor string) {
		defer close(stream)
		broken <- f.read(ctx, cursor, stream)
	}(f.state.Cursor)
	for {
		batch, err := f.next(ctx, stream, size)
		if err != nil {
			return err
		}
		if batch.cursor == "" {
			return <-broken
		}
		if len(batch.letters) > 0 {
			if err := f.tell(ctx, batch); err != nil {
				return err
			}
			*failures = 0
		}
		f.show(func() { f.state.Cursor = batch.cursor })
		f.unsaved = true
		if time.Since(f.saved) >= saveEvery {
			if err := f.save(ctx); err != nil {
				return err
			}
		}
	}
}

// read reads ahead of what is told, as far as the stream takes it, until ctx ends or reading fails.
func (f *follower) read(ctx context.Context, cursor string, stream chan<- audience.WatchedChange) error {
	for change, err := range f.Changes.Watch(ctx, cursor, nil) {
		if err != nil {
			return err
		}
		select {
		case stream <- change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errors.New("the stream of changes has ended")
}

// resume finds the place that was kept, when this is the first time.
func (f *follower) resume(ctx context.Context) error {
	if f.state.Cursor != "" {
		return nil
	}
	states, err := f.Places.WebhookStates(ctx)
	if err != nil {
		return err
	}
	state := states[f.webhook.Number]
	state.Attempts, state.Remedy = 0, ""
	if state.Cursor == "" { // the process died before it had answered who created the webhook
		if err := f.Begin(ctx, f.webhook); err != nil {
			return err
		}
		return f.resume(ctx)
	}
	f.show(func() { f.state = state })
	return nil
}

// batch is what one request tells.
type batch struct {
	letters []audience.DeadLetter
	oldest  time.Time
	seen    int    // changes, those included that the receiver does not want to hear of
	cursor  string // behind all that were seen; "": the stream has ended
}

// next waits for changes and takes those that have come; an idle follower makes its place durable meanwhile.
func (f *follower) next(ctx context.Context, stream <-chan audience.WatchedChange, size int) (batch, error) {
	var b batch
	idle := time.NewTimer(saveEvery)
	defer idle.Stop()
	for len(b.letters) < size && b.seen < mostSeen {
		var change audience.WatchedChange
		var more bool
		select {
		case change, more = <-stream:
		default:
			if b.cursor != "" {
				return b, nil
			}
			select {
			case change, more = <-stream:
			case <-idle.C:
				if f.unsaved {
					if err := f.save(ctx); err != nil {
						return b, err
					}
				}
				continue
			}
		}
		if !more {
			return b, nil
		}
		f.add(&b, change)
	}
	return b, nil
}

// add takes a change into a batch, if the receiver wants to hear of it.
func (f *follower) add(b *batch, change audience.WatchedChange) {
	b.seen++
	b.cursor = change.Cursor
	letter, told := letterOf(change, f.wanted)
	if !told {
		return
	}
	if len(b.letters) == 0 {
		b.oldest = change.Time
	}
	b.letters = append(b.letters, letter)
}

// tell sends a batch until all of it is accepted or has become dead letters. The error is errGone, or of this side.
func (f *follower) tell(ctx context.Context, b batch) error {
	f.show(func() { f.oldest = b.oldest })
	defer f.show(func() { f.oldest = time.Time{} })
	halvings := mostHalvings
	return apart(b.letters, &halvings,
		func(letters []audience.DeadLetter) (*refusal, error) { return f.send(ctx, letters) },
		func(letters []audience.DeadLetter, r *refusal) error { return f.bury(ctx, letters, r.reason) })
}

// send sends changes until they are accepted or it is of no use any more. The error is errGone, or of this side.
func (f *follower) send(ctx context.Context, letters []audience.DeadLetter) (*refusal, error) {
	body := bodyOf(f.webhook.ID, letters)
	for attempt := 1; ; attempt++ {
		r := f.post(ctx, f.webhook, f.keys, body)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if r == nil {
			f.show(func() { f.state.Delivered, f.state.Attempts, f.state.Remedy = time.Now(), 0, "" })
			return nil, nil
		}
		f.show(func() {
			f.state.Failed, f.state.Error, f.state.Remedy, f.state.Attempts = time.Now(), r.reason, r.remedy, attempt
		})
		f.log.Warn("webhook not accepted", "reason", r.reason, "changes", len(letters), "attempt", attempt)
		switch exhausted := attempt >= cmp.Or(f.webhook.Attempts, audience.DefaultWebhookAttempts); {
		case r.verdict == gone:
			return nil, f.disable(ctx)
		case r.verdict == refused, r.verdict == tooLong, r.verdict == again && exhausted:
			return r, nil
		}
		if err := f.save(ctx); err != nil {
			return nil, err
		}
		if err := pause.For(ctx, max(f.pause.After(attempt), r.wait)); err != nil {
			return nil, err
		}
	}
}

// disable takes the receiver at its word: it wants nothing any more. What it was not told stays to be told, should a person
// enable the webhook again.
func (f *follower) disable(ctx context.Context) error {
	if err := f.save(ctx); err != nil {
		return err
	}
	disabled := f.webhook
	disabled.Disabled = true
	if _, err := f.Webhooks.Update(ctx, disabled); err != nil && !errors.Is(err, audience.ErrConflict) { // then a person has changed it just now
		return err
	}
	f.log.Warn("webhook disabled: its receiver answers 410 Gone")
	f.Changed()
	return errGone
}

// bury keeps changes as dead letters before the place moves on.
func (f *follower) bury(ctx context.Context, letters []audience.DeadLetter, reason string) error {
	for i := range letters {
		letters[i].Reason, letters[i].Time = reason, time.Now()
	}
	if err := f.Places.AddDeadLetters(ctx, f.webhook.Number, letters); err != nil {
		return err
	}
	f.log.Warn("changes became dead letters", "reason", reason, "changes", len(letters))
	f.show(func() { f.state.Attempts = 0 })
	f.saved = time.Time{} // the place is made durable at once
	return nil
}

// save makes the state durable.
func (f *follower) save(ctx context.Context) error {
	if err := f.Places.PutWebhookState(ctx, f.webhook.Number, f.state); err != nil {
		return err
	}
	f.saved, f.unsaved = time.Now(), false
	return nil
}
