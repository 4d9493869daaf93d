package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// A sync that waits says for whom, until when and why, and what it does when that is over; so does the log, with its name.
func TestWaitsAreShown(t *testing.T) {
	for name, test := range map[string]struct {
		failure *destination.Error
		stage   string
	}{
		"a limit": {&destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: 5 * time.Minute, Err: errors.New("slow down")},
			"waiting for tiktok until 00:05:00 UTC: rate limited"},
		"one audience": {&destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: 10 * time.Minute, Err: errors.New("locked")},
			"waiting for tiktok until 00:10:00 UTC: busy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(7, "a")
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) == 1 {
						return test.failure
					}
					return nil
				}
				var log strings.Builder
				d := delivery.New(delivery.Deps{Ledger: w, Catalogue: onTikTok{w}, Log: slog.New(slog.NewTextHandler(&log, nil)),
					Connect: func(audience.Destination) (destination.Destination, error) {
						return connection{w.platform, w}, nil
					}})
				var stages []string
				_, err := d.Sync(t.Context(), "vip", "run-7", true, func(stage string, _, _ int64) {
					if len(stages) == 0 || stages[len(stages)-1] != stage {
						stages = append(stages, stage)
					}
				})
				require.NoError(t, err)
				require.Equal(t, []string{"planning", "creating the audience", "adding members", test.stage, "adding members"}, stages)
				for line := range strings.Lines(log.String()) {
					require.Contains(t, line, "audience=vip run=run-7")
				}
				require.Contains(t, log.String(), `msg="sync waits"`)
			})
		})
	}
}

// onTikTok is a world whose one destination has a platform.
type onTikTok struct{ *world }

func (o onTikTok) Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error) {
	d, err := o.world.Destination(ctx, id)
	d.Platform = audience.PlatformTikTok
	return d, err
}
