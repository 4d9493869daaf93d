package main

import (
	"context"
	"errors"

	"github.com/kohorta/kohorta/internal/audience"
)

// audienceShelf is where audiences are kept.
type audienceShelf interface {
	Get(ctx context.Context, id string) (audience.Audience, error)
	Update(ctx context.Context, changed audience.Audience) (audience.Audience, error)
}

// setPlatformID keeps the platform's id, whether that is made of files, and all that is edited of the audience meanwhile.
func setPlatformID(ctx context.Context, audiences audienceShelf, id audience.AudienceID, platformID string, files bool) error {
	for {
		target, err := audiences.Get(ctx, string(id))
		if err != nil {
			return err
		}
		target.PlatformID, target.PlatformFiles = platformID, files
		if _, err = audiences.Update(ctx, target); !errors.Is(err, audience.ErrConflict) {
			return err
		}
	}
}
