package delivery_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// A deleted audience leaves nobody on the platform. Where the platform does not delete it, all stays as it is.
func TestRetire(t *testing.T) {
	w := newWorld()
	require.NoError(t, w.cutOff().Retire(t.Context(), "vip"), "never was there")
	w.want(12, "a")
	_, err := w.sync("1")
	require.NoError(t, err)

	err = w.cutOff().Retire(t.Context(), "vip")
	require.ErrorIs(t, err, audience.ErrUnavailable)
	require.ErrorContains(t, err, "audience vip stays as it is, with its members on the platform; delete it again later")
	require.ErrorContains(t, err, "connection refused")
	var unavailable *audience.UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.Positive(t, unavailable.RetryAfter)
	require.Equal(t, audience.DeliveryDelivered, w.ledger["u000000"].State)
	require.Len(t, w.platform.held, 12)

	require.NoError(t, w.deliverer().Retire(t.Context(), "vip"))
	require.Empty(t, w.platform.held)
	require.Empty(t, w.audience.PlatformID)
	for u, row := range w.ledger {
		require.Equal(t, audience.DeliveryRemoved, row.State, u)
		require.Equal(t, "the audience was deleted", row.Reason)
	}
	require.NoError(t, w.deliverer().Retire(t.Context(), "vip"), "again")
}

// revoked is a platform that wants nothing to do with us.
type revoked struct{ destination.Destination }

func (revoked) DeleteAudience(context.Context, string) error {
	return &destination.Error{Kind: destination.Unauthorized, Scope: destination.OfAccount, Remedy: "renew the token", Err: fmt.Errorf("token revoked")}
}

func TestRetireWithoutRights(t *testing.T) {
	w := newWorld()
	w.want(3, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler),
		Connect: func(audience.Destination) (destination.Destination, error) {
			return revoked{connection{w.platform, w}}, nil
		}})
	err = d.Retire(t.Context(), "vip")
	require.ErrorIs(t, err, audience.ErrPrecondition)
	require.ErrorContains(t, err, "renew the token")
	require.Len(t, w.platform.held, 3)
}

// Wherever the process dies, repeating the deletion finishes it.
func TestRetireDies(t *testing.T) {
	for dieAt := 1; ; dieAt++ {
		w := newWorld()
		w.want(7, "a")
		_, err := w.sync("1")
		require.NoError(t, err)
		w.pageUsers = 3
		d := w.deliverer()
		w.dieAt = dieAt
		finished := d.Retire(t.Context(), "vip") == nil
		require.Empty(t, w.platform.violated)
		if len(w.platform.held) > 0 {
			require.True(t, w.ledger["u000000"].State.MayHold(), "the ledger has forgotten whom the platform holds")
		}
		require.NoError(t, w.deliverer().Retire(t.Context(), "vip"))
		require.Empty(t, w.platform.held)
		require.False(t, w.ledger["u000006"].State.MayHold())
		if finished {
			require.Greater(t, dieAt, 8)
			return
		}
	}
}

// A new audience never takes over what an earlier one of its id has left on the platform.
func TestKeysAreOfOneLife(t *testing.T) {
	keys := map[audience.AudienceID]bool{}
	first := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	ids := []audience.AudienceID{"vip", audience.AudienceID(strings.Repeat("k", 63))}
	for _, id := range ids {
		for _, created := range []time.Time{first, first.Add(time.Millisecond), first.Add(100 * 365 * 24 * time.Hour)} {
			a := audience.Audience{ID: id, Meta: audience.Meta{CreateTime: created}}
			key := delivery.SpecOf(a).Key
			require.Equal(t, key, delivery.SpecOf(a).Key)
			require.LessOrEqual(t, len(key), 63)
			require.Equal(t, string(id)[:3], string(key)[:3])
			require.Equal(t, string(id), delivery.SpecOf(a).Name)
			keys[key] = true
		}
	}
	require.Len(t, keys, 6)
}
