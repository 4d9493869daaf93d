package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// ensureAudience makes sure that the platform has the audience: that the one it once had is still there, and at the first
// sync that there is one, unless it is to be made of files. No sync ends well without the platform's word, also when there
// is nothing to send.
func (s *sending) ensureAudience(ctx context.Context, byFiles bool) error {
	if s.audience.PlatformID != "" {
		s.show("asking the platform for the audience")
		var status destination.Status
		err := s.try(ctx, adding, nil, func() (destination.Pace, error) {
			var err error
			status, err = s.destination.Audience(ctx, s.audience.PlatformID)
			return destination.Pace{}, err
		})
		if err != nil {
			return fmt.Errorf("ask the platform whether the audience exists: %w", err)
		}
		return s.checkFiles(ctx, status)
	}
	if s.report.Held || byFiles {
		return nil
	}
	s.show("creating the audience")
	err := s.try(ctx, adding, nil, func() (destination.Pace, error) {
		var err error
		s.audience.PlatformID, err = s.destination.EnsureAudience(ctx, specOf(s.audience))
		return destination.Pace{}, err
	})
	if err != nil {
		return fmt.Errorf("create it on the platform: %w", err)
	}
	return s.place(ctx, s.target, s.audience.PlatformID, false)
}

// goneOr is err, unless the reason for it is that the platform has the audience no more: some say of that no more than that
// they refuse the rows.
func (s *sending) goneOr(ctx context.Context, err error) error {
	var failure *destination.Error
	if !errors.As(err, &failure) || failure.Kind != destination.Rejected {
		return err
	}
	exists := s.ensureAudience(ctx, false)
	if errors.As(exists, &failure) && failure.Kind == destination.Gone {
		return exists
	}
	return err
}

// specOf says by which key an audience is found again when the answer to its creation is lost. The moment the audience was
// created here is part of it: a later one of the same id must not take over what an earlier one has left, for nobody
// would know whom that holds.
func specOf(a audience.Audience) destination.AudienceSpec {
	const longest = 63 // of a key, as of an id
	life := "." + strconv.FormatInt(a.CreateTime.UnixMilli(), 36)
	id := string(a.ID)
	return destination.AudienceSpec{Key: audience.AudienceID(id[:min(len(id), longest-len(life))] + life), Name: cmp.Or(a.PlatformName, id), ValueBased: a.Value != ""}
}
