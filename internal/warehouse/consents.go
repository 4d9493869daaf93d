package warehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// SetConsents records users' words. Of the words of a user on one purpose and destination the one with the latest Time
// stands, in whatever order they arrive; of two at the same millisecond the one recorded last.
func (s *Store) SetConsents(ctx context.Context, consents []audience.Consent) error {
	s.tombstones.mu.RLock()
	defer s.tombstones.mu.RUnlock()
	if len(s.tombstones.known) > 0 { // those of a user erased a moment ago are gone before they were stored
		consents = slices.DeleteFunc(slices.Clone(consents), func(c audience.Consent) bool { return s.tombstones.has(c.User) })
	}
	n := len(consents)
	if n == 0 {
		return nil
	}
	var (
		users        = make([]string, n)
		purposes     = make([]string, n)
		destinations = make([]string, n)
		granted      = make([]bool, n)
		times        = make([]int64, n)
	)
	for i, c := range consents {
		users[i], purposes[i], destinations[i] = string(c.User), c.Purpose, string(c.Destination)
		granted[i], times[i] = c.Granted, millis(c.Time)
	}
	if err := s.insert(ctx, "consents (user_id, purpose, destination, granted, time)",
		users, purposes, destinations, granted, times); err != nil {
		return fmt.Errorf("record %d consents: %w", n, err)
	}
	return nil
}

// Consents are a user's words that stand, by purpose, then destination.
func (s *Store) Consents(ctx context.Context, user audience.UserID) ([]audience.Consent, error) {
	consents, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT purpose, destination, granted, time FROM consents FINAL
			WHERE user_id = {user:String} ORDER BY purpose, destination`,
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Consent, error) {
		consent := audience.Consent{User: user}
		var destination string
		err := rows.Scan(&consent.Purpose, &destination, &consent.Granted, &consent.Time)
		consent.Destination, consent.Time = audience.DestinationID(destination), orZero(consent.Time)
		return consent, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read consents: %w", err)
	}
	return consents, nil
}
