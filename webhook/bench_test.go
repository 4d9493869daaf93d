package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/webhook"
)

// BenchmarkTold catches a receiver up with a log of 100,000 changes, beside bare requests of the same number and size to
// the same receiver.
func BenchmarkTold(b *testing.B) {
	const changes = 100_000
	for _, size := range []int{100, 1000} {
		b.Run(strconv.Itoa(size)+" a request", func(b *testing.B) {
			for range b.N {
				h := newHouse(b)
				var told, bytes, requests atomic.Int64
				c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					requests.Add(1)
					bytes.Add(int64(len(body)))
					told.Add(int64(strings.Count(string(body), `"version"`)))
				}))
				s := webhook.NewSender(webhook.SenderDeps{Webhooks: h.store.Webhooks(), Places: h.store, Changes: h, SecretPath: h.secretPath, Log: h.logger(), Now: h.Now})
				h.create(b, s, audience.Webhook{ID: "crm", URL: c.URL, Batch: size})
				h.visit(b, users(changes)...)

				began := time.Now()
				_, stop := h.sender(b)
				for told.Load() < changes {
					time.Sleep(time.Millisecond)
				}
				took := time.Since(began)
				stop()
				n := requests.Load()
				text := strings.Repeat("x", int(bytes.Load()/n))
				began = time.Now()
				for range n {
					response, err := http.Post(c.URL, "application/json", strings.NewReader(text))
					require.NoError(b, err)
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				b.ReportMetric(changes/took.Seconds(), "changes/s")
				b.ReportMetric(took.Seconds()/time.Since(began).Seconds(), "×bare")
				b.ReportMetric(0, "ns/op")
				c.Close()
			}
		})
	}
}
