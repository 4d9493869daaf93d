package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/secret"
	"github.com/kohorta/kohorta/webhook"
)

// told is a change as a receiver reads it.
type told struct {
	ID, User, Version, Cause string
	Entered, Left            []string
	Time                     time.Time
}

func (c told) String() string { return fmt.Sprintf("%s +%v -%v", c.User, c.Entered, c.Left) }

// crm is a receiver that answers as it is told to, and remembers what it has accepted.
type crm struct {
	*httptest.Server
	secret string

	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request, changes []told) bool // whether it accepts; nil: always
	accepted []told
	faults   []string // what no request may be
	requests atomic.Int64
}

func newCRM(t testing.TB, key string) *crm {
	c := &crm{secret: key}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.CloseClientConnections()
		c.Close()
		require.Empty(t, c.faults)
	})
	return c
}

func (c *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.requests.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	var payload struct {
		Webhook string
		Changes []told
	}
	timestamp := r.Header.Get("Kohorta-Timestamp")
	seconds, _ := strconv.ParseInt(timestamp, 10, 64)
	switch {
	case err != nil:
		return // it was cut off
	case !webhook.Signed([]secret.Secret{secret.Secret(c.secret)}, timestamp, body, r.Header.Get("Kohorta-Signature")):
		c.faults = append(c.faults, "not signed")
	case time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute:
		c.faults = append(c.faults, "signed at "+timestamp)
	case json.Unmarshal(body, &payload) != nil || len(payload.Changes) == 0:
		c.faults = append(c.faults, "tells nothing: "+string(body))
	}
	if c.answer != nil && !c.answer(w, r, payload.Changes) {
		return
	}
	c.accepted = append(c.accepted, payload.Changes...)
}

// behave changes how it answers.
func (c *crm) behave(answer func(http.ResponseWriter, *http.Request, []told) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// status is a behaviour: one status, as often as it is asked.
func status(code int) func(http.ResponseWriter, *http.Request, []told) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ []told) bool {
		w.WriteHeader(code)
		return code == http.StatusOK
	}
}

// heard is what it has accepted, each change once, in the order of the first times.
func (c *crm) heard() []told {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(c.accepted), func(change told) bool {
		again := seen[change.ID]
		seen[change.ID] = true
		return again
	})
}

// asked is how many requests it has had.
func (c *crm) asked() int { return int(c.requests.Load()) }

// sender is a new one, as a new process would have it, running until t ends or it is stopped.
func (h *house) sender(t testing.TB) (s *webhook.Sender, stop func()) {
	t.Helper()
	return h.senderWith(t, h.store)
}

func (h *house) senderWith(t testing.TB, places webhook.Places) (s *webhook.Sender, stop func()) {
	t.Helper()
	s = webhook.NewSender(webhook.SenderDeps{
		Webhooks: h.store.Webhooks(), Places: places, Changes: h, SecretPath: h.secretPath, Log: h.logger(), Now: h.Now,
	})
	s.Hurry()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return s, stop
}

// create makes a webhook as the server does.
func (h *house) create(t testing.TB, s *webhook.Sender, w audience.Webhook) audience.Webhook {
	t.Helper()
	if w.Secret == "" {
		w.Secret = "crm-secret"
	}
	w, err := h.store.Webhooks().Create(t.Context(), w)
	require.NoError(t, err)
	require.NoError(t, s.Begin(t.Context(), w))
	s.Changed()
	return w
}

const patience = time.Minute

// eventually waits until a receiver has heard of a number of changes.
func eventually(t testing.TB, c *crm, n int) []told {
	t.Helper()
	require.Eventually(t, func() bool { return len(c.heard()) >= n }, patience, 5*time.Millisecond)
	heard := c.heard()
	require.Len(t, heard, n)
	return heard
}

func texts(changes []told) (out []string) {
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func (h *house) statusOf(t testing.TB, s *webhook.Sender, w audience.Webhook) audience.WebhookStatus {
	t.Helper()
	statuses, err := s.Statuses(t.Context())
	require.NoError(t, err)
	return statuses[w.Number]
}

// TestTold: who enters and leaves, in words, from the webhook's creation on, of the segments it names.
func TestTold(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	h.visit(t, "user-before")
	all, some := newCRM(t, crmSecret), newCRM(t, erpSecret)
	w := h.create(t, s, audience.Webhook{ID: "all", URL: all.URL})
	h.create(t, s, audience.Webhook{ID: "some", URL: some.URL, Secret: "erp-secret", Segments: []audience.SegmentID{"calm"}})
	h.move(t, "user-1", "vip")
	h.visit(t, "user-2", "user-3")
	h.move(t, "user-1", "calm")
	h.move(t, "user-2", "vip")

	heard := eventually(t, all, 5)
	require.Equal(t, []string{
		"user-1 +[segments/vip] -[]", "user-2 +[segments/visitors] -[]", "user-3 +[segments/visitors] -[]",
		"user-1 +[segments/calm] -[segments/vip]", "user-2 +[segments/vip] -[]",
	}, texts(heard))
	require.Equal(t, "move", heard[0].Cause, "of the request nothing is told")
	require.Equal(t, "event", heard[1].Cause)
	require.WithinDuration(t, time.Now(), heard[0].Time, patience)
	require.Equal(t, heard[0].Time.Truncate(time.Millisecond), heard[0].Time, "as it is told again from the log")
	require.Len(t, heard[0].ID, 32)
	require.Equal(t, []string{"user-1 +[segments/calm] -[]"}, texts(eventually(t, some, 1)))
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).Lag == 0 }, patience, 5*time.Millisecond)
	status := h.statusOf(t, s, w)
	require.True(t, status.Following)
	require.WithinDuration(t, time.Now(), status.Delivered, patience)
	require.Zero(t, status.Failed)
}

// TestReceiversThatRecover: whatever they answer at first, they are told everything, and nothing becomes a dead letter.
func TestReceiversThatRecover(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	raw := func(text string) func(http.ResponseWriter, *http.Request, []told) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []told) bool {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}
			return false
		}
	}
	var elsewhere *crm
	behaviours := map[string]struct {
		answer func(http.ResponseWriter, *http.Request, []told) bool
		reason string
	}{
		"a fault":        {status(500), "answered 500 Internal Server Error"},
		"not there yet":  {status(503), "answered 503 Service Unavailable"},
		"too slow":       {status(408), "answered 408 Request Timeout"},
		"too early":      {status(425), "answered 425 Too Early"},
		"hangs up":       {raw(""), "no answer"},
		"speaks no HTTP": {raw("220 smtp ready\r\n"), "no answer"},
		"half an answer": {raw("HTTP/1.1 200 OK\r\nContent-Le"), "no answer"},
		"an odd status":  {status(799), "answered 799"},
		"hangs": {func(_ http.ResponseWriter, r *http.Request, _ []told) bool {
			<-r.Context().Done()
			return false
		}, "no answer within 50ms"},
		"asks to wait": {func(w http.ResponseWriter, _ *http.Request, _ []told) bool {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return false
		}, "answered 429 Too Many Requests"},
		"sends elsewhere": {func(w http.ResponseWriter, r *http.Request, _ []told) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return false
		}, "answered 307 Temporary Redirect; redirects are not followed"},
	}
	elsewhere = newCRM(t, crmSecret)
	receivers, webhooks, began := map[string]*crm{}, map[string]audience.Webhook{}, map[string]time.Time{}
	var recovered sync.Map // name → when
	for name, behaviour := range behaviours {
		c, left := newCRM(t, crmSecret), 3
		c.behave(func(w http.ResponseWriter, r *http.Request, changes []told) bool {
			if left--; left >= 0 {
				return behaviour.answer(w, r, changes)
			}
			recovered.LoadOrStore(name, time.Now())
			return true
		})
		timeout := 10 * time.Second
		if name == "hangs" {
			timeout = 50 * time.Millisecond
		}
		receivers[name], began[name] = c, time.Now()
		webhooks[name] = h.create(t, s, audience.Webhook{ID: audience.WebhookID("w" + strconv.Itoa(len(receivers))), URL: c.URL, Batch: 2, Timeout: timeout})
	}
	h.visit(t, users(5)...)
	h.move(t, "user-0000", "vip")
	for name, c := range receivers {
		eventually(t, c, 6)
		status := h.statusOf(t, s, webhooks[name])
		require.Contains(t, status.Error, behaviours[name].reason, name)
		require.NotContains(t, status.Error, c.URL, name)
		require.WithinDuration(t, time.Now(), status.Failed, patience, name)
		require.Zero(t, status.DeadLetters, name)
	}
	require.Zero(t, elsewhere.asked(), "redirects are not followed")
	when, _ := recovered.Load("asks to wait")
	require.GreaterOrEqual(t, when.(time.Time).Sub(began["asks to wait"]), 3*time.Second, "three times a second, as it was asked")
}

// TestReceiversThatWait: what is not about what a request holds becomes no dead letter, however often it is answered; what a
// person can do is shown meanwhile.
func TestReceiversThatWait(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	receivers, webhooks := map[int]*crm{}, map[int]audience.Webhook{}
	for code, id := range map[int]audience.WebhookID{301: "moved", 401: "unsigned", 402: "unpaid", 403: "forbidden", 404: "nowhere", 405: "posted", 407: "proxied", 415: "typed", 429: "busy"} {
		receivers[code] = newCRM(t, crmSecret)
		receivers[code].behave(status(code))
		webhooks[code] = h.create(t, s, audience.Webhook{ID: id, URL: receivers[code].URL, Attempts: 1})
	}
	h.visit(t, users(3)...)
	for code, c := range receivers {
		var is audience.WebhookStatus
		require.Eventually(t, func() bool {
			is = h.statusOf(t, s, webhooks[code])
			return is.Attempts > 2
		}, patience, 5*time.Millisecond)
		require.Contains(t, is.Error, "answered "+strconv.Itoa(code))
		require.Equal(t, code == http.StatusTooManyRequests, is.Remedy == "", "%d: who is busy needs no person", code)
		require.NotZero(t, is.Lag)
		c.behave(nil)
		eventually(t, c, 3)
		require.Eventually(t, func() bool {
			is = h.statusOf(t, s, webhooks[code])
			return is.Lag == 0
		}, patience, 5*time.Millisecond)
		require.Zero(t, is.DeadLetters, code)
		require.Zero(t, is.Attempts, code)
		require.Empty(t, is.Remedy, code)
	}
}

// TestRefusedChangesBecomeDeadLetters, each by itself, and the rest goes on; they are sent once more, or dropped.
func TestRefusedChangesBecomeDeadLetters(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	c := newCRM(t, crmSecret)
	refuses := func(users ...string) func(http.ResponseWriter, *http.Request, []told) bool {
		return func(w http.ResponseWriter, _ *http.Request, changes []told) bool {
			if slices.ContainsFunc(changes, func(change told) bool { return slices.Contains(users, change.User) }) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return false
			}
			return true
		}
	}
	c.behave(refuses("user-0002", "user-0007", "user-0008"))
	w := h.create(t, s, audience.Webhook{ID: "crm", URL: c.URL})
	h.visit(t, users(11)...)
	require.Equal(t, []string{"user-0000 +[segments/visitors] -[]", "user-0001 +[segments/visitors] -[]"}, texts(eventually(t, c, 8))[:2])
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).Lag == 0 }, patience, 5*time.Millisecond)
	letters, err := s.DeadLetters(t.Context(), w, 0, "", 10)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	require.Equal(t, audience.UserID("user-0002"), letters[0].User)
	require.Equal(t, "answered 422 Unprocessable Entity", letters[0].Reason)
	require.EqualValues(t, 3, h.statusOf(t, s, w).DeadLetters)
	require.Zero(t, h.statusOf(t, s, w).Attempts)

	delivered, refused, err := s.Redeliver(t.Context(), w, nil)
	require.NoError(t, err)
	require.Zero(t, delivered)
	require.Equal(t, "answered 422 Unprocessable Entity", refused)
	c.behave(refuses("user-0002", "user-0007"))
	delivered, refused, err = s.Redeliver(t.Context(), w, nil)
	require.NoError(t, err)
	require.Equal(t, 1, delivered, "the others stay")
	require.Equal(t, "answered 422 Unprocessable Entity", refused)
	c.behave(status(http.StatusNotFound))
	asked := c.asked()
	delivered, refused, err = s.Redeliver(t.Context(), w, nil)
	require.NoError(t, err)
	require.Zero(t, delivered)
	require.Equal(t, "answered 404 Not Found", refused)
	require.Equal(t, asked+1, c.asked(), "no reason to ask again")
	c.behave(nil)
	delivered, refused, err = s.Redeliver(t.Context(), w, []string{letters[0].ID})
	require.NoError(t, err)
	require.Equal(t, 1, delivered)
	require.Empty(t, refused)
	heard := eventually(t, c, 10)
	require.Equal(t, letters[0].ID, heard[9].ID, "the same change")
	require.Equal(t, "user-0002 +[segments/visitors] -[]", heard[9].String())
	dropped, err := s.Drop(t.Context(), w, []string{"none", letters[1].ID})
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped)

	c.behave(status(400))
	h.move(t, "user-0000", "vip")
	h.move(t, "user-0001", "vip")
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).DeadLetters == 2 }, patience, 5*time.Millisecond)
	c.behave(nil)
	delivered, _, err = s.Redeliver(t.Context(), w, nil)
	require.NoError(t, err)
	require.Equal(t, 2, delivered)
	require.Equal(t, []string{"user-0000 +[segments/vip] -[]", "user-0001 +[segments/vip] -[]"}, texts(eventually(t, c, 12)[10:]), "in their order")

	w.Disabled = true
	_, _, err = s.Redeliver(t.Context(), w, nil)
	require.ErrorIs(t, err, audience.ErrPrecondition)
	require.NoError(t, s.Forget(t.Context(), w))
	require.NoError(t, h.store.Webhooks().Delete(t.Context(), "crm", ""))
	require.Zero(t, h.statusOf(t, s, w))
}

// TestAStartForgetsWhatADeletionLeft: a process may die between deleting a webhook and forgetting its place.
func TestAStartForgetsWhatADeletionLeft(t *testing.T) {
	h := newHouse(t)
	s, stop := h.sender(t)
	c := newCRM(t, crmSecret)
	kept, gone := h.create(t, s, audience.Webhook{ID: "kept", URL: c.URL}), h.create(t, s, audience.Webhook{ID: "gone", URL: c.URL})
	stop()
	require.NoError(t, h.store.AddDeadLetters(t.Context(), gone.Number, []audience.DeadLetter{{ID: "1", User: "user-1", Change: []byte("{}")}}))
	require.NoError(t, h.store.Webhooks().Delete(t.Context(), "gone", ""))
	s, _ = h.sender(t)
	require.Eventually(t, func() bool { return h.statusOf(t, s, gone) == audience.WebhookStatus{} }, patience, 5*time.Millisecond)
	letters, err := h.store.CountDeadLetters(t.Context())
	require.NoError(t, err)
	require.Empty(t, letters)
	require.NotEmpty(t, h.statusOf(t, s, kept).Cursor)
}

// TestExhaustedAttempts: a receiver that never recovers blocks itself for a number of attempts only.
func TestExhaustedAttempts(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	c := newCRM(t, crmSecret)
	c.behave(status(502))
	w := h.create(t, s, audience.Webhook{ID: "crm", URL: c.URL, Batch: 5, Attempts: 3})
	h.visit(t, users(5)...)
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).DeadLetters == 5 }, patience, 5*time.Millisecond)
	require.Equal(t, 3, c.asked())
	c.behave(nil)
	h.move(t, "user-0001", "vip")
	require.Equal(t, []string{"user-0001 +[segments/vip] -[]"}, texts(eventually(t, c, 1)))
}

// TestGone: the receiver wants nothing any more. A person who enables the webhook again has lost nothing.
func TestGone(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	c := newCRM(t, crmSecret)
	c.behave(status(http.StatusGone))
	h.create(t, s, audience.Webhook{ID: "crm", URL: c.URL})
	h.move(t, "user-1", "vip")
	var w audience.Webhook
	require.Eventually(t, func() bool {
		var err error
		w, err = h.store.Webhooks().Get(t.Context(), "crm")
		require.NoError(t, err)
		return w.Disabled && !h.statusOf(t, s, w).Following
	}, patience, 5*time.Millisecond)
	require.Equal(t, "answered 410 Gone", h.statusOf(t, s, w).Error)
	require.Contains(t, h.statusOf(t, s, w).Remedy, "enable the webhook")
	h.move(t, "user-2", "vip")
	require.Equal(t, 1, c.asked())
	require.Zero(t, h.statusOf(t, s, w).DeadLetters)

	c.behave(nil)
	w.Disabled = false
	_, err := h.store.Webhooks().Update(t.Context(), w)
	require.NoError(t, err)
	s.Changed()
	require.Equal(t, []string{"user-1 +[segments/vip] -[]", "user-2 +[segments/vip] -[]"}, texts(eventually(t, c, 2)))
}

// TestOneBadReceiverHurtsNoOther, however it is bad.
func TestOneBadReceiverHurtsNoOther(t *testing.T) {
	h := newHouse(t)
	s, stop := h.sender(t)
	defer stop() // before the receiver that hangs
	good := newCRM(t, crmSecret)
	w := h.create(t, s, audience.Webhook{ID: "good", URL: good.URL})
	hangs := newCRM(t, crmSecret)
	hangs.behave(func(_ http.ResponseWriter, r *http.Request, _ []told) bool {
		<-r.Context().Done()
		return false
	})
	slow := h.create(t, s, audience.Webhook{ID: "hangs", URL: hangs.URL, Timeout: 2 * time.Minute})
	h.create(t, s, audience.Webhook{ID: "nobody", URL: "http://127.0.0.1:1"})
	h.create(t, s, audience.Webhook{ID: "unsigned", URL: good.URL, Secret: "none"})
	for i, user := range users(10) {
		h.move(t, user, "vip")
		eventually(t, good, i+1)
	}
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).Lag == 0 }, patience, 5*time.Millisecond)
	require.Positive(t, h.statusOf(t, s, slow).Lag)
	require.Equal(t, 1, hangs.asked())
}

// TestWithoutSecretNothingIsLost: it is no fault of the receiver. Two secrets sign twice.
func TestWithoutSecretNothingIsLost(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	const first, second = "hook-canary-one-0123456789", "hook-canary-two-0123456789"
	c := newCRM(t, first)
	w := h.create(t, s, audience.Webhook{ID: "crm", URL: c.URL, Secret: "hook-secret", Attempts: 1})
	h.move(t, "user-1", "vip")
	require.Eventually(t, func() bool { return h.statusOf(t, s, w).Attempts > 1 }, patience, 5*time.Millisecond)
	require.Contains(t, h.statusOf(t, s, w).Error, "hook-secret")
	require.Equal(t, "write the secret to this file", h.statusOf(t, s, w).Remedy)
	h.writeSecret(t, "hook-secret", first)
	eventually(t, c, 1)

	h.writeSecret(t, "hook-secret", second+"\n"+first)
	h.move(t, "user-2", "vip")
	eventually(t, c, 2)
	c.mu.Lock()
	c.secret = second
	c.mu.Unlock()
	h.move(t, "user-3", "vip")
	eventually(t, c, 3)
}

// TestAChangedWebhookGoesOnAtOnce, where it is, without waiting for its next attempt.
func TestAChangedWebhookGoesOnAtOnce(t *testing.T) {
	h := newHouse(t)
	s, _ := h.sender(t)
	wrong, right := newCRM(t, crmSecret), newCRM(t, crmSecret)
	wrong.behave(func(w http.ResponseWriter, _ *http.Request, _ []told) bool {
		w.Header().Set("Retry-After", "3000")
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	})
	w := h.create(t, s, audience.Webhook{ID: "crm", URL: wrong.URL})
	h.move(t, "user-1", "vip")
	require.Eventually(t, func() bool { return wrong.asked() == 1 }, patience, 5*time.Millisecond)
	w.URL = right.URL
	_, err := h.store.Webhooks().Update(t.Context(), w)
	require.NoError(t, err)
	s.Changed()
	require.Equal(t, []string{"user-1 +[segments/vip] -[]"}, texts(eventually(t, right, 1)))
}

// mortal is the store in a process that may die: from then on it writes nothing.
type mortal struct {
	webhook.Places
	dead atomic.Bool
}

var errDead = errors.New("this process is dead")

func (m *mortal) PutWebhookState(ctx context.Context, number audience.Number, state audience.WebhookState) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Places.PutWebhookState(ctx, number, state)
}

func (m *mortal) AddDeadLetters(ctx context.Context, number audience.Number, letters []audience.DeadLetter) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Places.AddDeadLetters(ctx, number, letters)
}

// TestLawOfDelivery: whatever receivers answer, and whenever the service stops or dies, each has at last accepted, or holds
// as dead letters, every step of every user since its creation, and heard of a user's steps in their order.
func TestLawOfDelivery(t *testing.T) {
	h := newHouse(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	process := &mortal{Places: h.store}
	s, stop := h.senderWith(t, process)
	receivers := map[audience.WebhookID]*crm{}
	webhooks := map[audience.WebhookID]audience.Webhook{}
	for i, size := range []int{1, 3, 100} {
		c := newCRM(t, crmSecret)
		faults := rand.New(rand.NewPCG(random.Uint64(), 1)) // with the receiver's lock held
		c.behave(func(w http.ResponseWriter, r *http.Request, _ []told) bool {
			switch faults.IntN(6) {
			case 0:
				w.WriteHeader(http.StatusInternalServerError)
				return false
			case 1: // the answer is lost, the changes are not
				panic(http.ErrAbortHandler)
			case 2:
				w.WriteHeader([]int{400, 404, 413, 429, 503}[faults.IntN(5)])
				return false
			}
			return true
		})
		id := audience.WebhookID("w" + strconv.Itoa(i))
		receivers[id], webhooks[id] = c, h.create(t, s, audience.Webhook{ID: id, URL: c.URL, Batch: size, Attempts: 4})
	}
	for range 60 {
		h.move(t, users(8)[random.IntN(8)], []audience.SegmentID{"vip", "calm"}[random.IntN(2)])
		if random.IntN(8) == 0 {
			process.dead.Store(random.IntN(2) == 0)
			stop()
			process = &mortal{Places: h.store}
			s, stop = h.senderWith(t, process)
		}
	}
	for _, c := range receivers {
		c.behave(nil)
	}
	h.move(t, "user-last", "vip")
	for _, c := range receivers {
		require.Eventually(t, func() bool {
			return slices.ContainsFunc(c.heard(), func(change told) bool { return change.User == "user-last" })
		}, patience, 5*time.Millisecond)
	}

	steps := map[string][]string{} // of each user, by version
	for change, err := range h.store.ChangesAfter(t.Context(), 0) {
		require.NoError(t, err)
		steps[string(change.User)] = append(steps[string(change.User)], strconv.FormatUint(change.Version, 10))
	}
	for id, c := range receivers {
		letters, err := s.DeadLetters(t.Context(), webhooks[id], 0, "", 0)
		require.NoError(t, err)
		heard := map[string][]string{}
		for _, change := range c.heard() {
			heard[change.User] = append(heard[change.User], change.Version)
		}
		for user, versions := range heard {
			require.True(t, slices.IsSortedFunc(versions, byNumber), "%s hears of %s in order: %v", id, user, versions)
		}
		for _, letter := range letters {
			if version := strconv.FormatUint(letter.Version, 10); !slices.Contains(heard[string(letter.User)], version) {
				heard[string(letter.User)] = append(heard[string(letter.User)], version)
			}
		}
		for user, versions := range steps {
			slices.SortFunc(heard[user], byNumber)
			require.Equal(t, versions, heard[user], "%s of %s", id, user)
		}
	}
}

// byNumber compares numbers without leading zeros.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare([]byte(a), []byte(b))
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "0": 0, "7": 7 * time.Second, "999999": time.Hour,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0, "Mon, 02 Jan 2096 15:04:05 GMT": time.Hour} {
		require.Equal(t, want, webhook.WaitOf(text), text)
	}
	date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	require.InDelta(t, 90, webhook.WaitOf(date).Seconds(), 30)
}
