package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// maxRedelivered bounds the dead letters of one redelivery.
const maxRedelivered = 1000

// DeadLetters are up to limit of a webhook's dead letters behind one of them (zero: from the first), in the order of the log.
func (s *Sender) DeadLetters(ctx context.Context, webhook audience.Webhook, version uint64, user audience.UserID, limit int) ([]audience.DeadLetter, error) {
	return s.Places.DeadLetters(ctx, webhook.Number, version, user, nil, limit)
}

// errStopped ends a redelivery whose receiver takes nothing now.
var errStopped = errors.New("the receiver takes nothing now")

// Redeliver sends dead letters once more, those of the ids or the oldest. What the receiver accepts is no dead letter any
// more, what it refuses stays one, and when it takes nothing now that is the end: why is in words. The order with what
// happens meanwhile is not kept: versions tell.
func (s *Sender) Redeliver(ctx context.Context, webhook audience.Webhook, ids []string) (delivered int, why string, err error) {
	if webhook.Disabled {
		return 0, "", fmt.Errorf("webhooks/%s is disabled; enable it first: %w", webhook.ID, audience.ErrPrecondition)
	}
	letters, err := s.Places.DeadLetters(ctx, webhook.Number, 0, "", ids, maxRedelivered)
	if err != nil {
		return 0, "", err
	}
	keys := newKeyFile(s.SecretPath(webhook.Secret), s.Log)
	send := func(letters []audience.DeadLetter) (*refusal, error) {
		if r := s.post(ctx, webhook, keys, bodyOf(webhook.ID, letters)); r != nil {
			return r, ctx.Err()
		}
		accepted := make([]string, len(letters))
		for i, letter := range letters {
			accepted[i] = letter.ID
		}
		if err := s.Places.DropDeadLetters(ctx, webhook.Number, accepted); err != nil {
			return nil, err
		}
		delivered += len(letters)
		return nil, nil
	}
	giveUp := func(_ []audience.DeadLetter, r *refusal) error {
		why = r.reason
		if r.verdict != refused && r.verdict != tooLong {
			return errStopped
		}
		return nil
	}
	for batch := range slices.Chunk(letters, cmp.Or(webhook.Batch, audience.DefaultWebhookBatch)) {
		halvings := mostHalvings
		err := apart(batch, &halvings, send, giveUp)
		if errors.Is(err, errStopped) {
			break
		}
		if err != nil {
			return delivered, why, err
		}
	}
	return delivered, why, nil
}

// Drop forgets dead letters: those of the ids, or all for nil.
func (s *Sender) Drop(ctx context.Context, webhook audience.Webhook, ids []string) (dropped int64, err error) {
	before, err := s.Places.CountDeadLetters(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.Places.DropDeadLetters(ctx, webhook.Number, ids); err != nil {
		return 0, err
	}
	after, err := s.Places.CountDeadLetters(ctx)
	return before[webhook.Number] - after[webhook.Number], err
}
