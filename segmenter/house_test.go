package segmenter_test

import (
	"log/slog"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/live"
)

// openLive opens the projection in the Redis at the address.
func openLive(t testing.TB, address string) *live.Store {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	store, err := live.Open(t.Context(), live.Config{Addresses: []string{u.Host}, Password: password}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}
