package delivery

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// unsettleSharers writes down, before users are removed, that the platform may lose others with them: it knows people by
// their identifiers, and who shares a phone with a removed user leaves with him. A `sending` member is sent again by the
// adds that follow, or by the next sync.
func (r *round) unsettleSharers(ctx context.Context, removed []destination.Row) error {
	var leaving []audience.Identifier
	for _, row := range removed {
		leaving = append(leaving, row.Identifiers...)
	}
	var sharers []audience.Delivery
	for row, err := range r.Ledger.Sharers(ctx, r.audience.Number, leaving) {
		if err != nil {
			return fmt.Errorf("look for members who share identifiers with removed users: %w", err)
		}
		if r.fates[row.User] != nil {
			continue
		}
		row.State, row.Reason, row.Run, row.Time = audience.DeliverySending, audience.ReasonSharing, r.run, time.Now().UTC()
		sharers = append(sharers, row)
		if r.urgent {
			r.sharers = append(r.sharers, row.User)
		}
	}
	r.total += int64(len(sharers))
	if err := r.write(ctx, r.target, sharers); err != nil {
		return fmt.Errorf("write members who share identifiers with removed users: %w", err)
	}
	return nil
}

// shares reports whether a user was unsettled because of another's removal, and is to be restored.
func shares(row audience.SyncRow) bool {
	return row.Held.State == audience.DeliverySending && strings.HasPrefix(row.Held.Reason, audience.ReasonSharing)
}
