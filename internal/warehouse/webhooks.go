package warehouse

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// Webhooks are the webhooks.
func (s *Store) Webhooks() *Resources[audience.Webhook] {
	return &Resources[audience.Webhook]{
		store: s, kind: "webhooks",
		id:   func(v *audience.Webhook) string { return string(v.ID) },
		meta: func(v *audience.Webhook) *audience.Meta { return &v.Meta },
	}
}

// PutWebhookState stores how far a webhook's receiver has been told.
func (s *Store) PutWebhookState(ctx context.Context, number audience.Number, state audience.WebhookState) error {
	if err := s.settle(ctx); err != nil { // a state whose insert was lost must not outlive a newer one
		return err
	}
	if err := s.insert(ctx, "webhook_states (webhook, cursor, delivered, failed, error, remedy, attempts, version)",
		[]uint32{uint32(number)}, []string{state.Cursor}, []int64{millis(state.Delivered)}, []int64{millis(state.Failed)},
		[]string{state.Error}, []string{state.Remedy}, []uint32{uint32(state.Attempts)}, []uint64{s.versions.next()}); err != nil {
		return fmt.Errorf("store the state of a webhook: %w", err)
	}
	return nil
}

// WebhookStates are the newest states, by webhook.
func (s *Store) WebhookStates(ctx context.Context) (map[audience.Number]audience.WebhookState, error) {
	states := map[audience.Number]audience.WebhookState{}
	err := s.Select(ctx, audience.Query{SQL: "SELECT webhook, cursor, delivered, failed, error, remedy, attempts FROM webhook_states FINAL"},
		func(scan func(...any) error) error {
			var webhook, attempts uint32
			var state audience.WebhookState
			err := scan(&webhook, &state.Cursor, &state.Delivered, &state.Failed, &state.Error, &state.Remedy, &attempts)
			state.Delivered, state.Failed, state.Attempts = orZero(state.Delivered), orZero(state.Failed), int(attempts)
			states[audience.Number(webhook)] = state
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read the states of webhooks: %w", err)
	}
	return states, nil
}

// ForgetWebhook deletes the dead letters and the state of a webhook that is deleted: the state last, which shows that there is
// something to forget.
func (s *Store) ForgetWebhook(ctx context.Context, number audience.Number) error {
	for _, table := range []string{"dead_letters", "webhook_states"} {
		if err := s.Exec(ctx, audience.Query{
			SQL: "DELETE FROM " + table + " WHERE webhook = {webhook:UInt32}", Params: map[string]any{"webhook": uint32(number)},
		}); err != nil {
			return fmt.Errorf("forget a webhook: %w", err)
		}
	}
	return nil
}
