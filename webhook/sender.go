package webhook

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
)

// Webhooks is where webhooks are kept.
type Webhooks interface {
	All(ctx context.Context) ([]audience.Webhook, error)
	// Update replaces a webhook; a stale etag is an ErrConflict.
	Update(ctx context.Context, webhook audience.Webhook) (audience.Webhook, error)
}

// Places is where it is kept how far receivers were told, and what they did not accept.
type Places interface {
	PutWebhookState(ctx context.Context, webhook audience.Number, state audience.WebhookState) error
	// WebhookStates are the newest states, by webhook.
	WebhookStates(ctx context.Context) (map[audience.Number]audience.WebhookState, error)
	ForgetWebhook(ctx context.Context, webhook audience.Number) error

	// AddDeadLetters keeps letters; adding one again is harmless.
	AddDeadLetters(ctx context.Context, webhook audience.Number, letters []audience.DeadLetter) error
	// DeadLetters are up to limit letters behind a place of the log, in its order; with ids, those only.
	DeadLetters(ctx context.Context, webhook audience.Number, version uint64, user audience.UserID, ids []string, limit int) ([]audience.DeadLetter, error)
	CountDeadLetters(ctx context.Context) (map[audience.Number]int64, error)
	// DropDeadLetters deletes the letters of the ids, or all of them for nil.
	DropDeadLetters(ctx context.Context, webhook audience.Number, ids []string) error
}

// Changes is the stream of changes of membership.
type Changes interface {
	// Watch yields every change behind a cursor, of all segments when none is named, until ctx ends.
	Watch(ctx context.Context, cursor string, segments []audience.SegmentID) iter.Seq2[audience.WatchedChange, error]
	// Cursor is where a watch of all segments begins that goes on from now.
	Cursor(ctx context.Context) (string, error)
}

// SenderDeps are what a Sender works with. All are required.
type SenderDeps struct {
	Webhooks   Webhooks
	Places     Places
	Changes    Changes
	SecretPath func(name string) string
	Log        *slog.Logger
	Now        func() time.Time // the service's clock, by which changes have their time
}

// Sender tells receivers who enters and leaves segments. It is safe for concurrent use; one process at a time may Run it.
type Sender struct {
	SenderDeps
	client  *http.Client
	pause   pause.Doubling
	changed chan struct{} // of capacity 1: the webhooks may have changed

	mu        sync.Mutex
	followers map[audience.Number]*follower
}

// NewSender makes a Sender. Run makes it send.
func NewSender(deps SenderDeps) *Sender {
	return &Sender{
		SenderDeps: deps, client: newClient(), pause: pause.Doubling{First: time.Second, Most: 5 * time.Minute},
		changed: make(chan struct{}, 1), followers: map[audience.Number]*follower{},
	}
}

// lookAgain is how often the webhooks are looked at when nobody says that they have changed.
const lookAgain = 5 * time.Second

// Run follows every enabled webhook until ctx ends and what is under way has come to an end.
func (s *Sender) Run(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for swept := false; ctx.Err() == nil; {
		webhooks, err := s.Webhooks.All(ctx)
		if err == nil && !swept {
			swept = true
			err = s.sweep(ctx, webhooks)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("webhooks cannot be read; those known go on", "error", err)
		}
		if err == nil {
			s.follow(ctx, webhooks)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.changed:
		}
	}
	s.keep(nil)
	return nil
}

// sweep forgets the places of webhooks whose deletion was cut short.
func (s *Sender) sweep(ctx context.Context, webhooks []audience.Webhook) error {
	states, err := s.Places.WebhookStates(ctx)
	if err != nil {
		return err
	}
	for _, webhook := range webhooks {
		delete(states, webhook.Number)
	}
	for number := range states {
		if err := s.Places.ForgetWebhook(ctx, number); err != nil {
			return err
		}
	}
	return nil
}

// follow begins to follow webhooks that are new, enabled or changed, and stops following others.
func (s *Sender) follow(ctx context.Context, webhooks []audience.Webhook) {
	enabled := map[audience.Number]audience.Webhook{}
	for _, webhook := range webhooks {
		if !webhook.Disabled {
			enabled[webhook.Number] = webhook
		}
	}
	s.keep(enabled)
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, webhook := range enabled {
		if s.followers[number] == nil {
			s.followers[number] = startFollower(ctx, s, webhook)
		}
	}
}

// keep stops the followers of all webhooks but these, and waits until they have ended.
func (s *Sender) keep(webhooks map[audience.Number]audience.Webhook) {
	s.mu.Lock()
	var ended []*follower
	for number, f := range s.followers {
		if webhook, kept := webhooks[number]; !kept || webhook.Etag != f.webhook.Etag {
			ended = append(ended, f)
			delete(s.followers, number)
		}
	}
	s.mu.Unlock()
	for _, f := range ended {
		f.stop()
	}
	for _, f := range ended {
		<-f.ended
	}
}

// Changed says that webhooks were created, changed or deleted.
func (s *Sender) Changed() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Begin makes the place of a new webhook durable: its receiver will be told of everything after the call.
func (s *Sender) Begin(ctx context.Context, webhook audience.Webhook) error {
	cursor, err := s.Changes.Cursor(ctx)
	if err != nil {
		return err
	}
	return s.Places.PutWebhookState(ctx, webhook.Number, audience.WebhookState{Cursor: cursor})
}

// Forget stops following a webhook that is deleted, and deletes its place and its dead letters.
func (s *Sender) Forget(ctx context.Context, webhook audience.Webhook) error {
	s.mu.Lock()
	f := s.followers[webhook.Number]
	delete(s.followers, webhook.Number)
	s.mu.Unlock()
	if f != nil {
		f.stop()
		<-f.ended
	}
	return s.Places.ForgetWebhook(ctx, webhook.Number)
}

// Statuses say how the receivers of webhooks answer.
func (s *Sender) Statuses(ctx context.Context) (map[audience.Number]audience.WebhookStatus, error) {
	states, err := s.Places.WebhookStates(ctx)
	if err != nil {
		return nil, err
	}
	letters, err := s.Places.CountDeadLetters(ctx)
	if err != nil {
		return nil, err
	}
	statuses := map[audience.Number]audience.WebhookStatus{}
	for number, state := range states {
		statuses[number] = audience.WebhookStatus{WebhookState: state, DeadLetters: letters[number]}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, f := range s.followers {
		state, lag := f.status()
		statuses[number] = audience.WebhookStatus{WebhookState: state, Following: true, Lag: lag, DeadLetters: letters[number]}
	}
	return statuses, nil
}
