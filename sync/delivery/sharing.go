package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// sharing is the ledger's reason of a member who has to be sent again because of another's removal.
const sharing = "shares an identifier with a removed user"

// unsettleSharers writes down, before users are removed, that the platform may lose others with them: it knows people by
// their identifiers, and who shares a phone with a removed user leaves with him. A `sending` member is sent again by the
// adds that follow, or by the next sync.
func (s *sending) unsettleSharers(ctx context.Context, removed []destination.Row) error {
	leaving := make(map[audience.Identifier]bool, len(removed))
	for _, row := range removed {
		for _, id := range row.Identifiers {
			leaving[id] = true
		}
	}
	var sharers []audience.Delivery
	for row, err := range s.Ledger.Deliveries(ctx, s.audience.Number) {
		if err != nil {
			return fmt.Errorf("look for members who share identifiers with removed users: %w", err)
		}
		if row.State != audience.DeliveryDelivered || s.fates[row.User] != nil ||
			!slices.ContainsFunc(row.Identifiers, func(id audience.Identifier) bool { return leaving[id] }) {
			continue
		}
		row.State, row.Reason, row.Run, row.Time = audience.DeliverySending, sharing, s.run, time.Now().UTC()
		sharers = append(sharers, row)
	}
	s.total += int64(len(sharers))
	if err := s.Ledger.RecordDeliveries(ctx, s.audience.Number, sharers); err != nil {
		return fmt.Errorf("write members who share identifiers with removed users: %w", err)
	}
	return nil
}

// shares reports whether this run has unsettled the user.
func (s *sending) shares(row audience.SyncRow) bool {
	return row.Held.Run == s.run && row.Held.State == audience.DeliverySending && strings.HasPrefix(row.Held.Reason, sharing)
}
