package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// away is a platform that does not answer.
type away struct{ destination.Destination }

func (away) Audience(context.Context, string) (destination.Status, error) {
	return destination.Status{}, &destination.Error{Kind: destination.Transient, Scope: destination.OfAccount, Err: errors.New("connection refused")}
}

func (a away) EnsureAudience(ctx context.Context, _ destination.AudienceSpec) (string, error) {
	_, err := a.Audience(ctx, "")
	return "", err
}

func (a away) DeleteAudience(ctx context.Context, id string) error {
	_, err := a.Audience(ctx, id)
	return err
}

// cutOff is a deliverer to which the platform does not answer.
func (w *world) cutOff() *delivery.Deliverer {
	return delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler),
		Connect: func(audience.Destination) (destination.Destination, error) {
			return away{connection{w.platform, w}}, nil
		}})
}

// A sync ends well only if the platform has said so, also when there is nothing to send.
func TestNothingToSendIsAskedForToo(t *testing.T) {
	for name, members := range map[string]int{"an empty audience": 0, "one that is up to date": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(members, "a")
				_, err := w.cutOff().Sync(t.Context(), "vip", "1", true, progress)
				require.ErrorContains(t, err, "connection refused")
				_, err = w.sync("2")
				require.NoError(t, err)
				require.NotEmpty(t, w.audience.PlatformID)
				report, err := w.sync("3")
				require.NoError(t, err)
				require.Zero(t, report.Requests)

				_, err = w.cutOff().Sync(t.Context(), "vip", "4", true, progress)
				require.ErrorContains(t, err, "ask the platform whether the audience exists: transient: connection refused")
				w.platform.vanish()
				_, err = w.sync("5")
				var failure *destination.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, destination.Gone, failure.Kind)
			})
		})
	}
}

// A vanished audience is found out also by a platform that says no more than that it refuses the rows of a stop.
func TestVanishedWhileAStopWaits(t *testing.T) {
	w := newWorld()
	w.platform.rows = 1
	w.want(12, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	w.platform.vanish()
	w.platform.fails = func(destination.Batch) error {
		return &destination.Error{Kind: destination.Rejected, Err: errors.New("does not belong to you")}
	}
	w.platform.silent = true
	for i := range 10 {
		w.stopped[nth(i)] = "no_consent"
		delete(w.wanted, nth(i))
	}
	_, err = w.sync("2")
	var failure *destination.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, destination.Gone, failure.Kind)
}
