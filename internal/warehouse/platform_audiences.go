package warehouse

import (
	"cmp"
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// SetPlatformID keeps which audience of its platform an audience has, "" for none, and whether that is made of files. What was
// kept at a higher version stands: versions are of whoever holds the audience, as in its ledger; 0 is the next of this
// process. It does not touch the audience's document, which others may be editing.
func (s *Store) SetPlatformID(ctx context.Context, number audience.Number, platformID string, files bool, version uint64) error {
	err := s.settle(ctx)
	if err == nil {
		err = s.insert(ctx, "platform_audiences (audience, platform_id, files, version)",
			[]uint32{uint32(number)}, []string{platformID}, []bool{files}, []uint64{cmp.Or(version, s.versions.next())})
	}
	if err != nil {
		return fmt.Errorf("keep the platform's id of audience %d: %w", number, err)
	}
	return nil
}
