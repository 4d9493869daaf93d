package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// forgetful is a connection whose platform forgets people in all audiences of an account.
type forgetful struct{ connection }

func (c forgetful) Erase(_ context.Context, b destination.Batch) (destination.Result, error) {
	c.requests = append(c.requests, b)
	maps.DeleteFunc(c.held, func(_ string, held []audience.Identifier) bool {
		return slices.ContainsFunc(held, func(id audience.Identifier) bool { return slices.Contains(b.Rows[0].Identifiers, id) })
	})
	return destination.Result{}, nil
}

// holds reports whether the platform holds a user by any of the identifiers that were sent of her.
func (w *world) holds(user audience.UserID) bool {
	for _, held := range w.platform.held {
		for _, id := range held {
			if slices.Contains(w.ledger[user].Identifiers, id) {
				return true
			}
		}
	}
	return false
}

var x = audience.Destination{ID: "x"}

func erase(t *testing.T, d *delivery.Deliverer, user audience.UserID, known ...audience.Identifier) (delivery.Erased, error) {
	t.Helper()
	require.NoError(t, d.Stop(t.Context(), stop(user)))
	return d.Erase(t.Context(), x, user, known)
}

// TestErase: what comes back has happened at the platform; repeating it is harmless.
func TestErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.want(20, "a")
		_, err := w.sync("1")
		require.NoError(t, err)
		d := w.deliverer()
		done, err := erase(t, d, "u000003")
		require.NoError(t, err)
		require.Equal(t, delivery.Erased{Audiences: 1}, done)
		require.Equal(t, audience.DeliveryRemoved, w.ledger["u000003"].State)
		require.False(t, w.holds("u000003"))
		done, err = erase(t, d, "u000003")
		require.NoError(t, err)
		require.Equal(t, delivery.Erased{Audiences: 1}, done)
	})
}

// TestEraseWaitsForThePlatform: as long as it does not take the removal, nothing counts as confirmed.
func TestEraseWaitsForThePlatform(t *testing.T) {
	for name, test := range map[string]struct {
		kind      destination.Kind
		confirmed bool
	}{
		"locked":     {destination.Busy, false},
		"refused":    {destination.Unauthorized, false},
		"gone there": {destination.Gone, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(20, "a")
				_, err := w.sync("1")
				require.NoError(t, err)
				w.platform.fails = func(destination.Batch) error { return &destination.Error{Kind: test.kind, Err: errors.New(name)} }
				d := w.deliverer()
				_, err = erase(t, d, "u000003")
				if test.confirmed {
					require.NoError(t, err)
					require.Equal(t, audience.DeliveryRemoved, w.ledger["u000003"].State)
					return
				}
				var failure *destination.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, test.kind, failure.Kind)
				require.True(t, w.ledger["u000003"].State.MayHold())
				w.platform.fails = nil
				_, err = d.Erase(t.Context(), x, "u000003", nil)
				require.NoError(t, err)
				require.False(t, w.holds("u000003"))
			})
		})
	}
}

// TestEraseEverywhere: of the whole account, under the profile's identifiers, too; who shares one with her is sent again. An
// audience that takes no removal is no obstacle.
func TestEraseEverywhere(t *testing.T) {
	for name, locked := range map[string]bool{"open": false, "an audience that takes no removal": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.platform.together = true
				shared, old := audience.Identifier{Scheme: phones, Value: "shared"}, audience.Identifier{Scheme: emails, Value: "old"}
				w.wanted["ann"] = []audience.Identifier{{Scheme: emails, Value: "ann"}, shared}
				w.wanted["bob"] = []audience.Identifier{{Scheme: emails, Value: "bob"}, shared}
				_, err := w.sync("1")
				require.NoError(t, err)
				if locked {
					w.platform.fails = func(b destination.Batch) error {
						return &destination.Error{Kind: destination.Busy, Err: errors.New(name)}
					}
				}
				d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler),
					Connect: func(audience.Destination) (destination.Destination, error) {
						return forgetful{connection{w.platform, w}}, nil
					}})
				done, err := erase(t, d, "ann", old)
				require.NoError(t, err)
				require.Equal(t, delivery.Erased{Audiences: 1, Everywhere: true}, done)
				last := w.platform.requests[len(w.platform.requests)-1]
				var sent []audience.Identifier
				for _, row := range last.Rows {
					sent = append(sent, row.Identifiers...)
				}
				require.Contains(t, sent, old)
				require.Equal(t, audience.DeliveryRemoved, w.ledger["ann"].State)
				require.Equal(t, audience.DeliverySending, w.ledger["bob"].State)
				w.platform.fails = nil
				_, err = w.sync("2")
				require.NoError(t, err)
				require.True(t, w.holds("bob"))
				require.False(t, slices.Contains(slices.Concat(slices.Collect(maps.Values(w.platform.held))...), w.ledger["ann"].Identifiers[0]))
			})
		})
	}
}

// TestErasureWaitsForALateAdd: nobody is erased while a request of a process that died may still add her.
func TestErasureWaitsForALateAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.want(1, "a")
		ids := w.wanted["u000000"]
		w.audience.PlatformID, w.platform.id = "vip", "vip"
		w.ledger["u000000"] = audience.Delivery{User: "u000000", State: audience.DeliverySending, Identifiers: ids} // of a process that died then
		d := w.deliverer()
		_, err := erase(t, d, "u000000")
		var failure *destination.Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, destination.Transient, failure.Kind)
		require.Equal(t, audience.DeliveryRemoved, w.ledger["u000000"].State)

		w.platform.held[rowKey(ids)] = ids // it is carried out after all
		w.pass()
		done, err := d.Erase(t.Context(), x, "u000000", nil)
		require.NoError(t, err)
		require.Equal(t, 1, done.Audiences)
		require.Empty(t, w.platform.held)
	})
}
