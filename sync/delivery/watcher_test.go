package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// patient is a destination whose platform answers checks as it is told.
type patient struct {
	destination.Destination

	mu      sync.Mutex
	answer  error
	secrets uint64
	checks  int
}

func (p *patient) Check(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks++
	return p.answer
}

func (p *patient) Limits() destination.Limits { return destination.Limits{RequestsPerSecond: 10} }
func (p *patient) Warnings() []string         { return []string{"v1 ends"} }

func (p *patient) Secrets() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.secrets
}

// becomes changes the answer; renewed says that a secret was replaced, too.
func (p *patient) becomes(answer error, renewed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
	if renewed {
		p.secrets++
	}
}

func (p *patient) checked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checks
}

// ward keeps one destination, and how it was.
type ward struct {
	mu    sync.Mutex
	of    audience.Destination
	kept  map[audience.DestinationID]audience.Health
	puts  int
	away  bool
	since []time.Time // of recoveries
}

func (w *ward) Destinations(context.Context) ([]audience.Destination, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []audience.Destination{w.of}, nil
}

func (w *ward) Healths(context.Context) (map[audience.DestinationID]audience.Health, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[audience.DestinationID]audience.Health{w.of.ID: w.kept[w.of.ID]}, nil
}

func (w *ward) PutHealth(_ context.Context, id audience.DestinationID, health audience.Health) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.puts++
	if w.away {
		return errors.New("clickhouse is away")
	}
	w.kept[id] = health
	return nil
}

func (w *ward) stored() audience.HealthState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept[w.of.ID].State
}

func (w *ward) recoveries() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.since)
}

func newWard() *ward {
	return &ward{of: audience.Destination{ID: "x", Platform: "x", Account: "1", TokenSecret: "t", Meta: audience.Meta{Etag: "1"}}, kept: map[audience.DestinationID]audience.Health{}}
}

// watch runs a watcher of a new process until t ends.
func watch(t *testing.T, w *ward, p *patient) (*delivery.Watcher, func()) {
	t.Helper()
	d := delivery.New(delivery.Deps{Log: slog.New(slog.DiscardHandler), Connect: func(audience.Destination) (destination.Destination, error) { return p, nil }})
	watcher := delivery.NewWatcher(d, w, func(_ context.Context, _ audience.DestinationID, since time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.since = append(w.since, since)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	return watcher, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

var errRevokedToken = &destination.Error{Kind: destination.Unauthorized, Scope: destination.OfAccount, Remedy: "renew it", Err: errors.New("the token was revoked")}

// TestWatcher: trouble is found out and told with its remedy, the secret's replacement ends it within seconds, and whoever waited
// hears of that once.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(), &patient{}
		watcher, stop := watch(t, w, p)
		defer stop()
		time.Sleep(5 * time.Second)
		health := watcher.Health(w.of)
		require.Equal(t, audience.HealthOK, health.State)
		require.Equal(t, []string{"v1 ends"}, health.Warnings)
		require.Equal(t, 1, p.checked())
		time.Sleep(20 * time.Minute)
		require.Equal(t, 2, p.checked(), "a few times an hour")

		p.becomes(errRevokedToken, false)
		time.Sleep(16 * time.Minute)
		health = watcher.Health(w.of)
		require.Equal(t, audience.HealthWaiting, health.State)
		require.Equal(t, "unauthorized: the token was revoked", health.Trouble)
		require.Equal(t, "renew it", health.Remedy)
		require.Equal(t, audience.HealthWaiting, w.stored())
		since := health.Since
		time.Sleep(10 * time.Minute)
		require.Equal(t, since, watcher.Health(w.of).Since)

		p.becomes(nil, true)
		time.Sleep(5 * time.Second)
		health = watcher.Health(w.of)
		require.Equal(t, audience.Health{State: audience.HealthOK, Checked: health.Checked, Warnings: health.Warnings}, health)
		time.Sleep(time.Hour)
		require.Equal(t, []time.Time{since}, w.recoveries())
	})
}

// TestWatcherGoesOnAfterARestart: what waited when the process ended goes on when it can, and not before.
func TestWatcherGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(), &patient{}
		since := time.Now().Add(-time.Hour).UTC()
		w.kept["x"] = audience.Health{State: audience.HealthWaiting, Trouble: "revoked", Since: since}
		p.becomes(&destination.Error{Kind: destination.Transient, Err: errors.New("no answer")}, false)
		watcher, stop := watch(t, w, p)
		time.Sleep(10 * time.Minute)
		require.Equal(t, audience.HealthWaiting, watcher.Health(w.of).State, "no answer is no news")
		require.Empty(t, w.recoveries())
		p.becomes(nil, false)
		time.Sleep(2 * time.Minute)
		require.Equal(t, audience.HealthOK, watcher.Health(w.of).State)
		require.Equal(t, []time.Time{since}, w.recoveries())
		stop()
	})
}

// TestWatcherKeepsTrying while what it has found out cannot be kept; a changed destination is checked at once, and on demand any is.
func TestWatcherKeepsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(), &patient{}
		w.away = true
		watcher, stop := watch(t, w, p)
		defer stop()
		time.Sleep(10 * time.Second)
		require.Empty(t, w.stored())
		w.mu.Lock()
		w.away = false
		w.mu.Unlock()
		time.Sleep(5 * time.Second)
		require.Equal(t, audience.HealthOK, w.stored())
		checks := p.checked()
		w.mu.Lock()
		w.of.Etag = "2"
		puts := w.puts
		w.mu.Unlock()
		watcher.Look()
		time.Sleep(time.Second)
		require.Equal(t, checks+1, p.checked())
		w.mu.Lock()
		require.Equal(t, puts, w.puts, "what is as it was is not written")
		w.mu.Unlock()
		p.becomes(errRevokedToken, false)
		require.Equal(t, audience.HealthWaiting, watcher.Check(t.Context(), w.of).State)
	})
}

// TestTroubleBetweenTwoLooks: what has failed goes on, however soon after it the secret is replaced.
func TestTroubleBetweenTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(), &patient{}
		watcher, stop := watch(t, w, p)
		defer stop()
		time.Sleep(5 * time.Second)
		watcher.Meets(w.of, errRevokedToken) // a request of a sync
		p.becomes(nil, true)
		time.Sleep(5 * time.Second)
		require.Equal(t, audience.HealthOK, watcher.Health(w.of).State)
		require.Len(t, w.recoveries(), 1)
	})
}

// TestCheckDuringARotation: a check whose token is revoked under way, and replaced in the file, holds back nothing.
func TestCheckDuringARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWard(), &patient{}
		watcher, stop := watch(t, w, p)
		defer stop()
		time.Sleep(5 * time.Second)
		p.becomes(errRevokedToken, false)
		time.AfterFunc(500*time.Millisecond, func() { p.becomes(nil, true) })
		require.Equal(t, audience.HealthOK, watcher.Check(t.Context(), w.of).State)
		time.Sleep(time.Minute)
		require.Empty(t, w.recoveries(), "nothing has waited")
	})
}
