package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// A cancelled sync ends after the request under way, whose answer is in the ledger; the next one does the rest.
func TestCancelledSyncEndsBetweenRequests(t *testing.T) {
	for name, c := range map[string]struct {
		takes     time.Duration // the request during which the sync is cancelled
		delivered int           // by the first two requests
	}{
		"which ends soon":         {time.Second, 10},
		"which takes ever longer": {time.Hour, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(23, "a")
				ctx, cancel := context.WithCancel(t.Context())
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) == 2 {
						cancel()
						time.Sleep(c.takes)
					}
					return nil
				}
				report, err := w.deliverer().Sync(ctx, "vip", "1", true, progress)
				require.ErrorIs(t, err, context.Canceled)
				require.Len(t, w.platform.requests, 2)
				states := map[audience.DeliveryState]int{}
				for _, row := range w.ledger {
					states[row.State]++
				}
				want := map[audience.DeliveryState]int{audience.DeliveryDelivered: c.delivered}
				if c.delivered < 10 {
					want[audience.DeliverySending] = 10 - c.delivered // what became of them is not known
				}
				require.Equal(t, want, states)
				require.Equal(t, delivery.Outcome{Planned: 23, Confirmed: int64(c.delivered), Unknown: int64(10 - c.delivered), NotTried: 13}, report.Additions)

				w.platform.fails = nil
				_, err = w.sync("2")
				require.NoError(t, err)
				w.requireLaw(t)
			})
		})
	}
}
