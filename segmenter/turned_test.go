package segmenter

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestWatchersShareAReading: of those who are at the same place one reads for all, who has gone is not waited for, and a
// failure is nobody's for ever.
func TestWatchersShareAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pages turnedPages
		var reads atomic.Int64
		release := make(chan error)
		read := func(ctx context.Context) ([]audience.Membership, error) {
			reads.Add(1)
			err := <-release
			return []audience.Membership{{User: "ann"}}, errors.Join(err, ctx.Err())
		}
		type answer struct {
			page []audience.Membership
			err  error
		}
		ask := func(ctx context.Context, behind place) <-chan answer {
			answered := make(chan answer, 1)
			go func() {
				page, err := pages.page(ctx, behind, read)
				answered <- answer{page, err}
			}()
			synctest.Wait()
			return answered
		}

		impatient, leave := context.WithCancel(t.Context())
		first := ask(impatient, place{7, ""}) // whose context the reading does not end with
		var same []<-chan answer
		for range 10 {
			same = append(same, ask(t.Context(), place{7, ""}))
		}
		require.EqualValues(t, 1, reads.Load())
		leave()
		require.ErrorIs(t, (<-first).err, context.Canceled)
		release <- nil
		for _, answered := range same {
			a := <-answered
			require.NoError(t, a.err)
			require.Equal(t, audience.UserID("ann"), a.page[0].User)
		}

		further, other := ask(t.Context(), place{7, "ann"}), ask(t.Context(), place{8, ""})
		require.EqualValues(t, 3, reads.Load(), "other places are other readings")
		fault := errors.New("clickhouse is away")
		release <- fault
		release <- fault
		require.ErrorIs(t, (<-further).err, fault)
		require.ErrorIs(t, (<-other).err, fault)
		again := ask(t.Context(), place{8, ""})
		release <- nil
		require.NoError(t, (<-again).err)
	})
}
