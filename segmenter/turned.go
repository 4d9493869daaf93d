package segmenter

import (
	"context"
	"strconv"

	"golang.org/x/sync/singleflight"

	"github.com/kohorta/kohorta/internal/audience"
)

// turnedPages lets watchers share one reading of whom an edition moves: all who are up to date come to the same place of it
// at the same moment, and each reading goes through the log. Who comes when it has ended reads by itself.
type turnedPages struct{ under singleflight.Group }

// page is what lies behind a place, read by one of those who ask for it at the same time, for all of them: nobody may write
// to it. Who asks may go, the reading goes on for the others.
func (t *turnedPages) page(ctx context.Context, behind place, read func(context.Context) ([]audience.Membership, error)) ([]audience.Membership, error) {
	key := strconv.FormatUint(behind.version, 10) + "/" + string(behind.user)
	shared := t.under.DoChan(key, func() (any, error) { return read(context.WithoutCancel(ctx)) })
	select {
	case page := <-shared:
		turned, _ := page.Val.([]audience.Membership) // nil beside an error
		return turned, page.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
