package webhook_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/webhook"
)

const (
	crmSecret = "crm-canary-0123456789"
	erpSecret = "erp-canary-0123456789"
)

// house is live membership on real engines, with the segments vip, calm (of one exclusive group), and visitors.
type house struct {
	*segmenter.Segmenter
	store   *warehouse.Store
	live    *live.Store
	redis   live.Config
	secrets string // directory with crm-secret and erp-secret
	log     *log
}

// log keeps what is logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (h *house) logger() *slog.Logger { return slog.New(slog.NewTextHandler(h.log, nil)) }

// newHouse runs until t ends. What it logs may not hold a secret or a user.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{secrets: t.TempDir(), log: &log{}}
	h.writeSecret(t, "crm-secret", crmSecret)
	h.writeSecret(t, "erp-secret", erpSecret)
	var err error
	h.store, err = warehouse.Open(t.Context(), warehouse.Config{DSN: enginetest.ClickHouse(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.store.Close()) })
	address, err := url.Parse(enginetest.Redis(t))
	require.NoError(t, err)
	password, _ := address.User.Password()
	h.redis = live.Config{Addresses: []string{address.Host}, Password: password}
	h.live = h.openLive(t)
	for _, segment := range []audience.Segment{
		{ID: "vip", Expression: "false", Group: "tier"}, {ID: "calm", Expression: "false", Group: "tier"}, {ID: "visitors", Expression: `did("visit", "all")`},
	} {
		_, err := h.store.Segments().Create(t.Context(), segment)
		require.NoError(t, err)
	}
	h.Segmenter = segmenter.New(segmenter.Deps{
		Database: h.store, Log: h.store, Projection: h.live, Catalogue: warehouse.Catalogue{Store: h.store}, People: h.store,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		for _, canary := range []string{"canary", "user-"} {
			require.NotContains(t, h.log.String(), canary, "the log")
		}
	})
	h.awaitProjection(t)
	return h
}

// awaitProjection returns once readers get answers.
func (h *house) awaitProjection(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := h.live.Get(t.Context(), "user-1")
		return err == nil
	}, patience, 5*time.Millisecond)
}

// openLive is Redis as another process of the service has it.
func (h *house) openLive(t testing.TB) *live.Store {
	t.Helper()
	s, err := live.Open(t.Context(), h.redis, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (h *house) writeSecret(t testing.TB, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(h.secretPath(name), []byte(text), 0o600))
}

func (h *house) secretPath(name string) string { return filepath.Join(h.secrets, name) }

// SegmentsOf are the names of the segments a user is in, of the three there are.
func (h *house) SegmentsOf(ctx context.Context, user audience.UserID) ([]string, error) {
	membership, err := h.live.Get(ctx, user)
	var names []string
	for _, number := range membership.Segments {
		names = append(names, "segments/"+[]string{"vip", "calm", "visitors"}[number-1])
	}
	return names, err
}

// visit makes visitors of users, one change each, in one version of the log.
func (h *house) visit(t testing.TB, users ...string) {
	t.Helper()
	events := make([]audience.Event, len(users))
	ids := make([]audience.UserID, len(users))
	for i, user := range users {
		ids[i] = audience.UserID(user)
		events[i] = audience.Event{User: ids[i], ID: "1", Type: "visit", Time: time.Now().Add(-time.Hour)}
	}
	_, err := h.store.WriteEvents(t.Context(), events)
	require.NoError(t, err)
	require.NoError(t, h.Wait(t.Context(), h.Touch(ids, segmenter.CauseEvent)))
}

// move moves a user into a segment.
func (h *house) move(t testing.TB, user string, into audience.SegmentID) {
	t.Helper()
	_, err := h.MoveUser(t.Context(), audience.Move{User: audience.UserID(user), Into: []audience.SegmentID{into}})
	require.NoError(t, err)
}

// segmentsOf reads which segments a user is in, by name.
func (h *house) segmentsOf(t testing.TB, user string) []string {
	t.Helper()
	names, err := h.SegmentsOf(t.Context(), audience.UserID(user))
	require.NoError(t, err)
	return names
}

// users are n user ids.
func users(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user-%04d", i)
	}
	return out
}

var (
	_ webhook.Mover       = (*segmenter.Segmenter)(nil)
	_ webhook.Changes     = (*segmenter.Segmenter)(nil)
	_ webhook.Claims      = (*live.Store)(nil)
	_ webhook.Memberships = (*house)(nil)
	_ webhook.Places      = (*warehouse.Store)(nil)
	_ webhook.Webhooks    = (*warehouse.Resources[audience.Webhook])(nil)
)
