package delivery_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// An audience that was deleted on the platform stays away until a person orders a new one, which then gets all members.
func TestVanishedAudience(t *testing.T) {
	w := newWorld()
	w.want(12, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	require.ErrorIs(t, w.deliverer().Recreate(t.Context(), "vip", "too early"), audience.ErrPrecondition)
	require.Equal(t, audience.DeliveryDelivered, w.ledger["u000000"].State)

	w.platform.vanish()
	w.want(13, "a")
	_, err = w.sync("2")
	var failure *destination.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, destination.Gone, failure.Kind)
	require.Empty(t, w.platform.held)

	require.NoError(t, w.deliverer().Recreate(t.Context(), "vip", "3"))
	require.NoError(t, w.deliverer().Recreate(t.Context(), "vip", "again"))
	report, err := w.sync("4")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 13, Confirmed: 13}, report.Additions)
	w.requireLaw(t)
}
