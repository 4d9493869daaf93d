package live_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
)

func TestStopsAreHeardByAllWhoListen(t *testing.T) {
	t.Parallel()
	server := startRedis(t, freePort(t), "--dir", t.TempDir())
	open := func() *live.Store {
		store, err := live.Open(t.Context(), live.Config{Addresses: []string{server.address}}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}
	teller := open()
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan []audience.UserID, 1000)
	var listening sync.WaitGroup
	listening.Go(func() { _ = open().HearStops(ctx, func(users []audience.UserID) { heard <- users }) })
	defer listening.Wait()
	defer cancel()
	require.Eventually(t, func() bool { // from when on it listens is not known
		require.NoError(t, teller.TellStops(t.Context(), []audience.UserID{"first"}))
		return len(heard) > 0
	}, time.Minute, 50*time.Millisecond)

	users := make([]audience.UserID, 1500)
	for i := range users {
		users[i] = audience.UserID(fmt.Sprint("ż\x00", i))
	}
	require.NoError(t, teller.TellStops(t.Context(), users))
	require.NoError(t, teller.TellStops(t.Context(), nil))
	var got []audience.UserID
	for len(got) < len(users) {
		select {
		case some := <-heard:
			if some[0] != "first" {
				got = append(got, some...)
			}
		case <-time.After(time.Minute):
			t.Fatal("not all are heard of")
		}
	}
	require.Equal(t, users, got)
}
