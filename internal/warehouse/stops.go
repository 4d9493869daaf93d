package warehouse

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// RecordStops writes stops down; each supersedes the earlier one of its user and audience.
func (s *Store) RecordStops(ctx context.Context, stops []audience.Stop) error {
	if len(stops) == 0 {
		return nil
	}
	if err := s.settle(ctx); err != nil { // a stop whose insert was lost must not land after its lifting
		return err
	}
	n := len(stops)
	var (
		users     = make([]string, n)
		audiences = make([]uint32, n)
		reasons   = make([]string, n)
		untils    = make([]int64, n)
		times     = make([]int64, n)
		versions  = make([]uint64, n)
	)
	version := s.versions.next()
	for i, stop := range stops {
		users[i], audiences[i], reasons[i], versions[i] = string(stop.User), uint32(stop.Audience), stop.Reason, version
		untils[i], times[i] = millis(stop.Until), millis(stop.Time)
	}
	if err := s.insert(ctx, "stops (user_id, audience, reason, until, time, version)", users, audiences, reasons, untils, times, versions); err != nil {
		return fmt.Errorf("record %d stops: %w", n, err)
	}
	return nil
}
