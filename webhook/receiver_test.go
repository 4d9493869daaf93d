package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/secret"
	"github.com/kohorta/kohorta/webhook"
)

// receiver is a new one of the house, as a new process would have it, on the wall clock.
func (h *house) receiver(t testing.TB, change func(*webhook.ReceiverDeps)) *webhook.Receiver {
	deps := webhook.ReceiverDeps{
		Sources:    []webhook.Source{{Name: "erp", Secret: "erp-secret"}, {Name: "crm", Secret: "crm-secret"}},
		SecretPath: h.secretPath, Mover: h, Claims: h.openLive(t), Memberships: h, Audit: h.store, Log: h.logger(), Now: time.Now,
	}
	if change != nil {
		change(&deps)
	}
	return webhook.NewReceiver(deps)
}

// signed is a request to move, signed at an instant.
type signed struct {
	body, secret, timestamp, signature string
}

func sign(body, key string, at time.Time) signed {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return signed{body, key, timestamp, webhook.Sign([]secret.Secret{secret.Secret(key)}, timestamp, []byte(body))}
}

// answer is what a receiver says: of a problem the status, fields and all the text, of a move what came of it.
type answer struct {
	status   int
	fields   []string
	text     string
	segments []string
	token    string
	header   http.Header
}

func post(t testing.TB, r http.Handler, s signed) answer {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/moves", strings.NewReader(s.body))
	if s.timestamp != "" {
		req.Header.Set("Kohorta-Timestamp", s.timestamp)
	}
	if s.signature != "" {
		req.Header.Set("Kohorta-Signature", s.signature)
	}
	return do(t, r, req)
}

func do(t testing.TB, r http.Handler, req *http.Request) answer {
	t.Helper()
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, req)
	var said struct {
		User, Title, Detail string
		Status              int
		Errors              []struct{ Field, Reason string }
		Segments            []string
		FreshnessToken      string `json:"freshness_token"`
	}
	a := answer{status: recorder.Code, text: recorder.Body.String(), header: recorder.Header()}
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &said), a.text)
	if recorder.Code == http.StatusOK {
		require.Equal(t, "application/json", recorder.Header().Get("Content-Type"))
		a.segments, a.token = said.Segments, said.FreshnessToken
		return a
	}
	require.Equal(t, "application/problem+json", recorder.Header().Get("Content-Type"))
	require.Equal(t, recorder.Code, said.Status)
	require.NotEmpty(t, said.Title)
	require.NotEmpty(t, said.Detail)
	for _, fault := range said.Errors {
		a.fields = append(a.fields, fault.Field)
		require.NotEmpty(t, fault.Reason)
	}
	require.NotContains(t, a.text, "canary")
	return a
}

func TestMove(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(t, nil)
	a := post(t, r, sign(`{"user": "user-1", "into": ["vip"], "reason": "sponsor", "expires": "2199-01-01T00:00:00Z"}`, crmSecret, time.Now()))
	require.Equal(t, http.StatusUnprocessableEntity, a.status, "expires a hundred years ahead")
	a = post(t, r, sign(`{"user": "user-1", "into": ["vip"], "reason": "sponsor", "expires": "2099-01-01T00:00:00Z"}`, crmSecret, time.Now()))
	require.Equal(t, http.StatusOK, a.status, a.text)
	require.Equal(t, []string{"segments/vip"}, a.segments)
	require.Equal(t, []string{"segments/vip"}, h.segmentsOf(t, "user-1"), "in force when the call returns")
	require.NoError(t, h.Wait(t.Context(), a.token))
	pins, err := h.store.Pins(t.Context(), "user-1")
	require.NoError(t, err)
	require.Equal(t, "crm", pins[0].Actor, "the source is the actor")
	require.Equal(t, "sponsor", pins[0].Reason)

	a = post(t, r, sign(`{"user": "user-1", "into": ["segments/calm"], "out_of": ["vip"]}`, erpSecret, time.Now()))
	require.Equal(t, http.StatusOK, a.status, a.text)
	require.Equal(t, []string{"segments/calm"}, a.segments)
	a = post(t, r, sign(`{"user": "user-1", "release": ["calm", "vip"]}`, erpSecret, time.Now()))
	require.Equal(t, http.StatusOK, a.status, a.text)
	require.Equal(t, []string{}, a.segments)
}

// TestMovesAreInTheAudit: by whom and by which request, without whom they moved. What was refused has changed nothing.
func TestMovesAreInTheAudit(t *testing.T) {
	h := newHouse(t)
	failing := &forgetful{Audit: h.store}
	r := h.receiver(t, func(d *webhook.ReceiverDeps) { d.Audit = failing })
	for i, body := range []string{
		`{"user": "user-1", "into": ["vip"], "out_of": ["segments/calm"], "reason": "user-1 is a sponsor", "request_id": "17"}`,
		`{"user": "user-2", "release": ["vip"]}`, `{"user": "user-3", "into": ["none"]}`, `{"user": "user-4", "into": [`,
	} {
		status := post(t, r, sign(body, []string{crmSecret, erpSecret}[i%2], time.Now())).status
		require.Equal(t, i < 2, status == http.StatusOK, body)
	}
	actions, err := h.store.Actions(t.Context(), "", "", "", 0)
	require.NoError(t, err)
	for i := range actions {
		require.Len(t, actions[i].ID, 36)
		require.WithinDuration(t, time.Now(), actions[i].Time, patience)
		actions[i].ID, actions[i].Time = "", time.Time{}
	}
	require.Equal(t, []audience.Action{
		{Actor: "erp", Call: "POST /v1/moves", Resource: "segments/vip"},
		{Actor: "crm", Call: "POST /v1/moves", Resource: "segments/vip, segments/calm", RequestID: "17"},
	}, actions)

	failing.err = errors.New("clickhouse is away")
	require.Equal(t, http.StatusOK, post(t, r, sign(`{"user": "user-5", "into": ["vip"]}`, crmSecret, time.Now())).status, "the move is made")
	require.Contains(t, h.log.String(), "move not written into the audit")
}

// forgetful is an audit that fails while it is told to.
type forgetful struct {
	webhook.Audit
	err error
}

func (f *forgetful) RecordAction(ctx context.Context, action audience.Action) error {
	if f.err != nil {
		return f.err
	}
	return f.Audit.RecordAction(ctx, action)
}

func TestBadMoves(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(t, nil)
	now := time.Now()
	good := `{"user": "user-1", "into": ["vip"]}`
	long := `{"user": "user-1", "into": ["vip"], "reason": "` + strings.Repeat("x", 70_000) + `"}`
	unsigned := func(change func(*signed)) signed {
		s := sign(good, crmSecret, now)
		change(&s)
		return s
	}
	body := func(text string) signed { return sign(text, crmSecret, now) }
	for name, c := range map[string]struct {
		request signed
		status  int
		field   string // "": none
	}{
		"no time":                {unsigned(func(s *signed) { s.timestamp = "" }), 401, "Kohorta-Timestamp"},
		"no such time":           {unsigned(func(s *signed) { s.timestamp = "noon" }), 401, "Kohorta-Timestamp"},
		"another time":           {unsigned(func(s *signed) { s.timestamp += "0" }), 401, "Kohorta-Signature"},
		"no signature":           {unsigned(func(s *signed) { s.signature = "" }), 401, "Kohorta-Signature"},
		"no version":             {unsigned(func(s *signed) { s.signature = strings.TrimPrefix(s.signature, "v1=") }), 401, "Kohorta-Signature"},
		"a later version":        {unsigned(func(s *signed) { s.signature = "v2=" + strings.TrimPrefix(s.signature, "v1=") }), 401, "Kohorta-Signature"},
		"half a signature":       {unsigned(func(s *signed) { s.signature = s.signature[:35] }), 401, "Kohorta-Signature"},
		"an empty signature":     {unsigned(func(s *signed) { s.signature = "v1=" }), 401, "Kohorta-Signature"},
		"the fifth signature":    {unsigned(func(s *signed) { s.signature = strings.Repeat("v1=00,", 4) + s.signature }), 401, "Kohorta-Signature"},
		"another secret":         {sign(good, "somebody-elses-secret", now), 401, "Kohorta-Signature"},
		"another body":           {unsigned(func(s *signed) { s.body += " " }), 401, "Kohorta-Signature"},
		"an old signature":       {sign(good, crmSecret, now.Add(-6*time.Minute)), 401, "Kohorta-Timestamp"},
		"a signature of later":   {sign(good, crmSecret, now.Add(7*time.Minute)), 401, "Kohorta-Timestamp"},
		"of the end of time":     {sign(good, crmSecret, time.Unix(1<<62, 0)), 401, "Kohorta-Timestamp"},
		"too long":               {body(long), 413, ""},
		"nothing":                {body(""), 400, ""},
		"no JSON":                {body("user=user-1"), 400, ""},
		"a list":                 {body("[]"), 400, ""},
		"half of it":             {body(good[:20]), 400, ""},
		"two of it":              {body(good + good), 400, ""},
		"not UTF-8":              {body("{\"user\": \"user-\xff\", \"into\": [\"vip\"]}"), 400, ""},
		"an unknown field":       {body(`{"user": "user-1", "in_to": ["vip"]}`), 400, "in_to"},
		"a field in capitals":    {body(`{"User": "user-1", "into": ["vip"]}`), 400, "User"},
		"a field twice":          {body(`{"user": "user-1", "user": "user-2", "into": ["vip"]}`), 400, "user"},
		"a number as user":       {body(`{"user": 1, "into": ["vip"]}`), 400, "user"},
		"text as list":           {body(`{"user": "user-1", "into": "vip"}`), 400, "into"},
		"a day as time":          {body(`{"user": "user-1", "into": ["vip"], "expires": "2099-01-01"}`), 400, "expires"},
		"no user":                {body(`{"into": ["vip"]}`), 422, "user"},
		"no segment":             {body(`{"user": "user-1"}`), 422, "into"},
		"an unknown segment":     {body(`{"user": "user-1", "into": ["vap"]}`), 422, "into[0]"},
		"two of a group":         {body(`{"user": "user-1", "into": ["vip", "calm"]}`), 422, "into[1]"},
		"into and out of":        {body(`{"user": "user-1", "into": ["vip"], "out_of": ["vip"]}`), 422, "out_of[0]"},
		"an expiry in the past":  {body(`{"user": "user-1", "into": ["vip"], "expires": "2001-01-01T00:00:00Z"}`), 422, "expires"},
		"a request id too long":  {body(`{"user": "user-1", "into": ["vip"], "request_id": "` + strings.Repeat("x", 193) + `"}`), 422, "request_id"},
		"a user id of two lines": {body(`{"user": "user-1\n", "into": ["vip"]}`), 422, "user"},
	} {
		t.Run(name, func(t *testing.T) {
			a := post(t, r, c.request)
			require.Equal(t, c.status, a.status, a.text)
			if c.field == "" {
				require.Empty(t, a.fields)
			} else {
				require.Equal(t, []string{c.field}, a.fields, a.text)
			}
		})
	}
	require.Empty(t, h.segmentsOf(t, "user-1"), "nobody was moved")

	a := do(t, r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/moves", nil))
	require.Equal(t, http.StatusMethodNotAllowed, a.status)
	require.Equal(t, "POST", a.header.Get("Allow"))
	require.Equal(t, http.StatusNotFound, do(t, r, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)).status)
}

// TestSignatureIsTakenOnce: not by the same process, not by another, not by one that starts later.
func TestSignatureIsTakenOnce(t *testing.T) {
	h := newHouse(t)
	first, replica := h.receiver(t, nil), h.receiver(t, nil)
	into := sign(`{"user": "user-1", "into": ["vip"]}`, crmSecret, time.Now())
	require.Equal(t, http.StatusOK, post(t, first, into).status)
	h.move(t, "user-1", "calm")
	again := into
	again.signature = strings.ToUpper(strings.TrimPrefix(into.signature, "v1="))
	again.signature = "v2=x, v1=" + again.signature
	for name, r := range map[string]*webhook.Receiver{"itself": first, "a replica": replica, "after a restart": h.receiver(t, nil)} {
		for _, s := range []signed{into, again} {
			a := post(t, r, s)
			require.Equal(t, http.StatusConflict, a.status, name)
			require.Equal(t, []string{"Kohorta-Signature"}, a.fields, name)
		}
	}
	require.Equal(t, []string{"segments/calm"}, h.segmentsOf(t, "user-1"))

	contested := sign(`{"user": "user-2", "into": ["vip"]}`, crmSecret, time.Now())
	var taken atomic.Int32
	var callers errgroup.Group
	for i := range 20 {
		callers.Go(func() error {
			if a := post(t, []*webhook.Receiver{first, replica}[i%2], contested); a.status == http.StatusOK {
				taken.Add(1)
			}
			return nil
		})
	}
	require.NoError(t, callers.Wait())
	require.EqualValues(t, 1, taken.Load())
}

// TestALostClaimMovesNobody: Redis forgets, the history of moves does not.
func TestALostClaimMovesNobody(t *testing.T) {
	h := newHouse(t)
	into := sign(`{"user": "user-1", "into": ["vip"]}`, crmSecret, time.Now())
	require.Equal(t, http.StatusOK, post(t, h.receiver(t, nil), into).status)
	h.move(t, "user-1", "calm")
	other := h.redis
	other.Prefix = "empty"
	forgetful, err := live.Open(t.Context(), other, h.logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, forgetful.Close()) }()
	a := post(t, h.receiver(t, func(d *webhook.ReceiverDeps) { d.Claims = forgetful }), into)
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, []string{"segments/calm"}, a.segments, "the repeat did nothing")
}

// TestRepeatWithRequestID: a CRM that lost the answer signs anew and gets the answer; another move under the same id is refused.
func TestRepeatWithRequestID(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(t, nil)
	body := `{"user": "user-1", "into": ["vip"], "request_id": "17"}`
	now := time.Now()
	require.Equal(t, http.StatusOK, post(t, r, sign(body, crmSecret, now.Add(-2*time.Second))).status)
	h.move(t, "user-1", "calm")
	a := post(t, r, sign(body, crmSecret, now.Add(-time.Second)))
	require.Equal(t, http.StatusOK, a.status, a.text)
	require.Equal(t, []string{"segments/calm"}, a.segments, "it does nothing twice")
	a = post(t, r, sign(`{"user": "user-1", "out_of": ["vip"], "request_id": "17"}`, crmSecret, now))
	require.Equal(t, http.StatusConflict, a.status)
	require.Equal(t, []string{"request_id"}, a.fields)
	a = post(t, r, sign(body, erpSecret, now))
	require.Equal(t, []string{"segments/vip"}, a.segments, "another system's 17 is another request")
}

// TestMissingSecretIsToldAtOnce: who starts a service need not wait for the first move to hear of it.
func TestMissingSecretIsToldAtOnce(t *testing.T) {
	h := newHouse(t)
	receiver := h.receiver(t, func(deps *webhook.ReceiverDeps) {
		deps.Sources = append(deps.Sources, webhook.Source{Name: "shop", Secret: "shop-secret"})
	})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended, end := context.WithCancel(t.Context())
	end()
	require.NoError(t, receiver.Serve(ended, listener, time.Second))
	require.Contains(t, h.log.String(), "address="+listener.Addr().String())
	require.Regexp(t, `cannot be read" source=shop error=".*shop-secret: .*write the secret to this file`, h.log.String())
	require.NotContains(t, h.log.String(), "source=crm")
}

// TestTwoSecretsServe while one is renewed, without a restart.
func TestTwoSecretsServe(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(t, nil)
	const renewed = "crm-canary-renewed-0123456789"
	taken := func(key string) bool {
		body := `{"user": "user-1", "into": ["vip"], "reason": "` + strconv.FormatInt(time.Now().UnixNano(), 10) + `"}`
		return post(t, r, sign(body, key, time.Now())).status == http.StatusOK
	}
	require.True(t, taken(crmSecret))
	require.False(t, taken(renewed))
	h.writeSecret(t, "crm-secret", renewed+"\n"+crmSecret+"\n")
	require.True(t, taken(renewed))
	require.True(t, taken(crmSecret))

	// What both have signed is one request, whichever signature it comes with.
	s := sign(`{"user": "user-1", "into": ["vip"]}`, crmSecret, time.Now())
	require.Equal(t, http.StatusOK, post(t, r, s).status)
	require.Equal(t, http.StatusConflict, post(t, r, signed{body: s.body, timestamp: s.timestamp,
		signature: webhook.Sign([]secret.Secret{renewed}, s.timestamp, []byte(s.body))}).status)

	h.writeSecret(t, "crm-secret", renewed)
	require.True(t, taken(renewed))
	require.False(t, taken(crmSecret))
	h.writeSecret(t, "erp-secret", "short")
	require.True(t, taken(renewed), "another source's trouble is not this one's")
	a := post(t, r, sign(`{"user": "user-1", "into": ["vip"]}`, erpSecret, time.Now()))
	require.Equal(t, http.StatusServiceUnavailable, a.status, "nobody knows who it is")
	require.Contains(t, h.log.String(), "too short")
}

// failing is a Mover that fails while it is told to.
type failing struct {
	webhook.Mover
	err error
}

func (f *failing) MoveUser(ctx context.Context, move audience.Move) (string, error) {
	if f.err != nil {
		return "", f.err
	}
	return f.Mover.MoveUser(ctx, move)
}

// TestAFailedMoveMayComeAgain with the same signature, as the service was at fault; a refused one may not.
func TestAFailedMoveMayComeAgain(t *testing.T) {
	h := newHouse(t)
	mover := &failing{Mover: h, err: &audience.UnavailableError{What: "clickhouse", RetryAfter: 1500 * time.Millisecond}}
	r := h.receiver(t, func(d *webhook.ReceiverDeps) { d.Mover = mover })
	s := sign(`{"user": "user-1", "into": ["vip"]}`, crmSecret, time.Now())
	a := post(t, r, s)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Equal(t, "2", a.header.Get("Retry-After"))
	mover.err = context.DeadlineExceeded
	require.Equal(t, http.StatusServiceUnavailable, post(t, r, s).status)
	mover.err = http.ErrBodyNotAllowed // any
	require.Equal(t, http.StatusInternalServerError, post(t, r, s).status)
	mover.err = audience.ErrPrecondition
	require.Equal(t, http.StatusConflict, post(t, r, s).status)
	mover.err = nil
	require.Equal(t, http.StatusConflict, post(t, r, s).status, "that one was the caller's fault")
	require.Equal(t, http.StatusOK, post(t, r, sign(s.body, crmSecret, time.Now().Add(time.Second))).status)
}

// TestNothingIsTakenUnguarded: without Redis nobody knows whether a signature comes again.
func TestNothingIsTakenUnguarded(t *testing.T) {
	h := newHouse(t)
	away, err := live.Open(t.Context(), live.Config{Addresses: []string{"127.0.0.1:1"}}, h.logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, away.Close()) }()
	r := h.receiver(t, func(d *webhook.ReceiverDeps) { d.Claims = away })
	a := post(t, r, sign(`{"user": "user-1", "into": ["vip"]}`, crmSecret, time.Now()))
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Empty(t, h.segmentsOf(t, "user-1"))
}
