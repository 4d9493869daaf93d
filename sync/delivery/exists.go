package delivery

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/sync/destination"
)

// ensureAudience makes sure that the platform has the audience: that the one it once had is still there, and at the first
// sync that there is one. No sync ends well without the platform's word, also when there is nothing to send.
func (s *sending) ensureAudience(ctx context.Context) error {
	if s.audience.PlatformID != "" {
		s.progress("asking the platform for the audience", 0, 0)
		err := s.try(ctx, s.Log, adding, nil, func() (destination.Pace, error) {
			_, err := s.destination.Audience(ctx, s.audience.PlatformID)
			return destination.Pace{}, err
		})
		if err != nil {
			return fmt.Errorf("ask the platform whether the audience exists: %w", err)
		}
		return nil
	}
	if s.report.Held {
		return nil
	}
	s.progress("creating the audience", 0, 0)
	err := s.try(ctx, s.Log, adding, nil, func() (destination.Pace, error) {
		var err error
		s.audience.PlatformID, err = s.destination.EnsureAudience(ctx, destination.AudienceSpec{Key: s.audience.ID, Name: s.audience.PlatformName})
		return destination.Pace{}, err
	})
	if err != nil {
		return fmt.Errorf("create it on the platform: %w", err)
	}
	return s.Catalogue.SetPlatformID(ctx, s.audience.ID, s.audience.PlatformID)
}
