package warehouse

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// SetPlatformID keeps which audience of its platform an audience has, "" for none, and whether that is made of files. It is
// for whoever holds the audience, and does not touch the audience's document, which others may be editing.
func (s *Store) SetPlatformID(ctx context.Context, number audience.Number, platformID string, files bool) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	current, _, err := first(ctx, s, audience.Query{
		SQL:    "SELECT max(version) FROM platform_audiences WHERE audience = {audience:UInt32}",
		Params: map[string]any{"audience": uint32(number)},
	}, scanUint64)
	if err == nil {
		version := max(s.versions.next(), current+1) // the clock of the process that wrote last may be ahead
		err = s.insert(ctx, "platform_audiences (audience, platform_id, files, version)",
			[]uint32{uint32(number)}, []string{platformID}, []bool{files}, []uint64{version})
	}
	if err != nil {
		return fmt.Errorf("keep the platform's id of audience %d: %w", number, err)
	}
	return nil
}
