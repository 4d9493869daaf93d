package delivery_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// rotating is a destination whose token is replaced before every seventh request, in the ways people do it.
type rotating struct {
	destination.Destination
	requests int
	rotate   func(times int)
}

func (r *rotating) Apply(ctx context.Context, id string, b destination.Batch) (destination.Result, error) {
	if r.requests++; r.requests%7 == 0 {
		r.rotate(r.requests / 7)
	}
	return r.Destination.Apply(ctx, id, b)
}

// A token replaced under load costs no batch: neither when the file is empty for a moment, nor when the old one is revoked
// while a request carries it.
func TestTokenRotation(t *testing.T) {
	transport := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = transport })
	synctest.Test(t, func(t *testing.T) {
		tokens := []string{"token-before", "token-after"}
		advertisers := []string{sandbox.DemoTikTokAdvertiser}
		box := sandbox.New(sandbox.Config{TikTok: sandbox.TikTokConfig{Tokens: map[string][]string{tokens[0]: advertisers, tokens[1]: advertisers}}})
		http.DefaultTransport = wire{box.Handler()}
		file := filepath.Join(t.TempDir(), "token")
		write := func(content string) { require.NoError(t, os.WriteFile(file, []byte(content), 0o600)) }
		write(tokens[0])
		client, err := tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: "http://localhost", TokenFile: file, BatchRows: 1}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		rotations := 0
		connector := &rotating{Destination: client, rotate: func(times int) {
			rotations++
			next := tokens[times%2]
			if times%2 == 0 {
				write("")
				time.AfterFunc(500*time.Millisecond, func() { write(next) })
				return
			}
			write(next)
			require.NoError(t, box.Inject(sandbox.Fault{Kind: sandbox.FaultTokenRevoked, Platform: "tiktok", Count: 1}))
		}}
		v := &vendor{client: client, world: newWorld()}
		for i := range 200 {
			v.set(t, i, "a")
		}
		d := delivery.New(delivery.Deps{Ledger: v.world, Catalogue: v.world, Log: slog.New(slog.DiscardHandler),
			Connect: func(audience.Destination) (destination.Destination, error) { return connector, nil }})
		report, err := d.Sync(t.Context(), "vip", "1", true, progress)
		require.NoError(t, err)
		require.Greater(t, rotations, 25)
		require.Equal(t, delivery.Outcome{Planned: 200, Confirmed: 200}, report.Additions)
		trouble, _ := d.Trouble(audience.Destination{})
		require.Nil(t, trouble)
	})
}
