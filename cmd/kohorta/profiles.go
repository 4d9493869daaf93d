package main

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
)

// profiles is the store, from which a withdrawn consent goes on to the platforms at once.
type profiles struct {
	liveStore
	deliverer *delivery.Deliverer
}

// SetConsents is durable when it returns, and the withdrawals are on their way.
func (p profiles) SetConsents(ctx context.Context, consents []audience.Consent) error {
	if err := p.liveStore.SetConsents(ctx, consents); err != nil {
		return err
	}
	var withdrawn []audience.UserID
	for _, consent := range consents {
		if !consent.Granted {
			withdrawn = append(withdrawn, consent.User)
		}
	}
	if len(withdrawn) == 0 {
		return nil
	}
	return p.deliverer.Withdrawn(ctx, withdrawn)
}
