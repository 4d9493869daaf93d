package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// wire carries requests to a handler without a network, which fake time could not wait for.
type wire struct{ http.Handler }

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, arrived := httptest.NewRecorder(), httptest.NewRequest(r.Method, r.URL.String(), r.Body)
	arrived.Header = r.Header
	w.ServeHTTP(answer, arrived)
	return answer.Result(), nil
}

// counting is a destination whose requests are counted, with those refused for their number.
type counting struct {
	destination.Destination
	took, refused int
}

func (c *counting) Apply(ctx context.Context, id string, b destination.Batch) (destination.Result, error) {
	result, err := c.Destination.Apply(ctx, id, b)
	var failure *destination.Error
	switch {
	case err == nil:
		c.took++
	case errors.As(err, &failure) && failure.Kind == destination.RateLimited:
		c.refused++
	}
	return result, err
}

// Over half an hour, with more to send than the platform takes, at least 95 % of what its quotas allow is sent, and no
// request is refused for being one too many.
func TestQuotasAreUsedAndKept(t *testing.T) {
	const span = 30 * time.Minute
	transport := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = transport })
	secret := func(content string) string {
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	log := slog.New(slog.DiscardHandler)
	token, proof, tiktokToken := secret(sandbox.DemoMetaToken), secret(sandbox.DemoMetaAppSecret), secret(sandbox.DemoTikTokToken)
	metaClient := func() (destination.Destination, error) {
		return meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: "http://localhost", TokenFile: token, AppSecretFile: proof, BatchRows: 1}, log)
	}
	for name, test := range map[string]struct {
		config  sandbox.Config
		connect func() (destination.Destination, error)
		quota   float64 // requests in the span
	}{
		"meta, full tier: 9,000 points in 5 minutes, 3 a request": {connect: metaClient, quota: 9000 / 3 * span.Minutes() / 5},
		"meta, limited tier: 60 points":                           {connect: metaClient, quota: 60 / 3 * span.Minutes() / 5, config: sandbox.Config{Meta: sandbox.MetaConfig{LimitedTier: true}}},
		"tiktok: 10 a second, 600 a minute": {quota: 10 * span.Seconds(), connect: func() (destination.Destination, error) {
			return tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: "http://localhost", TokenFile: tiktokToken, BatchRows: 1, RequestsPerSecond: 9.7}, log)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))) // when the API's version exists
				http.DefaultTransport = wire{sandbox.New(test.config).Handler()}
				client, err := test.connect()
				require.NoError(t, err)
				counted := &counting{Destination: client}
				w := newWorld()
				hasher, err := identity.NewHasher("PL")
				require.NoError(t, err)
				for i := range int(test.quota * 1.3) {
					ids, _ := hasher.Identify([]identity.Input{{Field: identity.Email, Value: identity.Raw(fmt.Sprintf("user.%d@example.com", i))}})
					for _, id := range ids {
						if id.Scheme == client.Schemes()[0] {
							w.wanted[userOf(i)] = []audience.Identifier{id}
						}
					}
				}
				d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: log,
					Connect: func(audience.Destination) (destination.Destination, error) { return counted, nil }})
				ctx, cancel := context.WithTimeout(t.Context(), span)
				defer cancel()
				_, err = d.Sync(ctx, "vip", "1", true, progress)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Zero(t, counted.refused, "after %d", counted.took)
				require.GreaterOrEqual(t, float64(counted.took), 0.95*test.quota)
				t.Logf("%d of %.0f", counted.took, test.quota)
			})
		})
	}
}

// The forecast in a plan is right before anything was throttled, once the platform has said anything at all: what a sync then
// takes is within a third of it.
func TestForecast(t *testing.T) {
	transport := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = transport })
	log := slog.New(slog.DiscardHandler)
	secret := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	token, proof := secret("token", sandbox.DemoMetaToken), secret("app", sandbox.DemoMetaAppSecret)
	for name, test := range map[string]struct {
		limited  bool
		requests int
	}{
		"full tier, at the pace to start at": {requests: 500},
		"full tier, longer than its budget":  {requests: 9000},
		"limited tier":                       {limited: true, requests: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))) // when the API's version exists
				http.DefaultTransport = wire{sandbox.New(sandbox.Config{Meta: sandbox.MetaConfig{LimitedTier: test.limited}}).Handler()}
				client, err := meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: "http://localhost", TokenFile: token, AppSecretFile: proof, BatchRows: 1}, log)
				require.NoError(t, err)
				v := &vendor{world: newWorld(), client: client}
				for i := range test.requests {
					v.set(t, i, "a")
				}
				require.NoError(t, client.Check(t.Context()), "as when the destination is loaded")
				began := time.Now()
				report, err := v.sync(t, "1")
				require.NoError(t, err)
				took := time.Since(began)
				t.Logf("%s forecast, %s taken", report.Plan.Duration, took)
				require.InEpsilon(t, took.Seconds(), report.Plan.Duration.Seconds(), 0.33)
			})
		})
	}
}
