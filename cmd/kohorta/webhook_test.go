package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/secret"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/webhook"
)

const hookSecret = "0123456789abcdef"

// hookReceiver accepts what is signed, unless it is told to refuse, and keeps it in lines: user, entered, left.
type hookReceiver struct {
	mu      sync.Mutex
	lines   []string
	refuses bool
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	timestamp := req.Header.Get("Kohorta-Timestamp")
	var told struct {
		Changes []struct {
			User          string
			Entered, Left []string
		}
	}
	if r.refuses {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	if !webhook.Signed([]secret.Secret{hookSecret}, timestamp, body, req.Header.Get("Kohorta-Signature")) || json.Unmarshal(body, &told) != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	for _, change := range told.Changes {
		r.lines = append(r.lines, fmt.Sprint(change.User, change.Entered, change.Left))
	}
}

func (r *hookReceiver) refuse(refuses bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = refuses
}

func (r *hookReceiver) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// TestWebhooks: a CRM moves users over HTTP and is told what comes of it, all by the commands and the configuration there are.
func TestWebhooks(t *testing.T) {
	secrets := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "crm-secret"), []byte(hookSecret), 0o600))
	config := testConfig(t)
	config.SecretsDir = secrets
	config.Webhooks = webhook.Config{Listen: "127.0.0.1:0", Sources: []webhook.Source{{Name: "crm", Secret: "crm-secret"}}}
	s, _ := startConfigured(t, config)
	receiver := &hookReceiver{}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	run := func(want string, args ...string) {
		t.Helper()
		out, err := kohorta(t, s.address(), args...)
		if err != nil {
			out += explain(err)
		}
		require.Regexp(t, want, out)
	}
	move := func(body string) (status int, answer string) {
		t.Helper()
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.moves.Addr().String()+"/v1/moves", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Kohorta-Timestamp", timestamp)
		req.Header.Set("Kohorta-Signature", webhook.Sign([]secret.Secret{hookSecret}, timestamp, []byte(body)))
		response, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(text)
	}
	hears := func(lines ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return len(receiver.heard()) >= len(lines) }, time.Minute, 10*time.Millisecond)
		require.Equal(t, lines, receiver.heard())
	}

	run(`there are no webhooks yet: kohorta apply -f examples/webhooks.yaml`, "webhook", "list")
	run(`create +segments/vip\ncreate +webhooks/crm\n2 done`, "apply", "--yes", "-f", write(t, "r.yaml", fmt.Sprintf(
		"segments: [{id: vip, expression: 'false'}]\nwebhooks: [{id: crm, url: %q, secret: crm-secret, timeout: 5s}]", server.URL)))
	run(`succeeded`, "segment", "evaluate")
	run(`nothing to do`, "apply", "--yes", "-f", write(t, "w.yaml", "webhooks: [{id: crm, secret: crm-secret, timeout: 5s}]"))
	run(`error: .*url: would be called in the clear; use https`, "apply", "--yes", "-f", write(t, "x.yaml", "webhooks: [{id: x, url: 'http://crm.example.com', secret: crm-secret}]"))

	status, answer := move(`{"user": "ann", "into": ["vip"], "request_id": "1"}`)
	require.Equal(t, http.StatusOK, status, answer)
	require.Regexp(t, `"segments":\["segments/vip"\],"freshness_token":"\S+"`, answer)
	run(`crm +POST /v1/moves +segments/vip +1\n`, "audit")
	hears("ann[segments/vip] []")
	require.Eventually(t, func() bool { // it has heard before it has answered
		out, err := kohorta(t, s.address(), "webhook", "list")
		return err == nil && regexp.MustCompile(`crm +http://\S+ +ok +0s +\d{4}-\S+ \S+ +0`).MatchString(out)
	}, time.Minute, 50*time.Millisecond)
	run(`"last_success_time"`, "webhook", "get", "crm")
	run(`error: .*in use.*webhooks/tells`, "apply", "--yes", "--prune", "-f", write(t, "t.yaml",
		fmt.Sprintf("segments: [{id: other, expression: 'false'}]\nwebhooks: [{id: tells, url: %q, secret: crm-secret, segments: [segments/vip], disabled: true}, {id: crm}]", server.URL)))

	receiver.refuse(true)
	status, answer = move(`{"user": "bob", "into": ["vip"], "request_id": "1"}`)
	require.Equal(t, http.StatusOK, status, answer)
	require.Eventually(t, func() bool {
		out, err := kohorta(t, s.address(), "webhook", "dead-letters", "crm")
		return err == nil && strings.Contains(out, "bob")
	}, time.Minute, 50*time.Millisecond)
	run(`answered 422 Unprocessable Entity +\{"id":"\w+","user":"bob","entered":\["segments/vip"\],"left":\[\],`, "webhook", "dead-letters", "crm")
	run(`0 dead letters delivered, 1 left\nerror: the receiver did not accept all: answered 422 Unprocessable Entity`, "webhook", "redeliver", "crm")
	receiver.refuse(false)
	run(`1 dead letter delivered, 0 left`, "webhook", "redeliver", "crm")
	hears("ann[segments/vip] []", "bob[segments/vip] []")
	run(`there are no dead letters`, "webhook", "dead-letters", "crm")
	run(`error: .*say all`, "webhook", "drop", "crm")
	run(`0 dead letters dropped`, "webhook", "drop", "crm", "--all")
	run(`webhooks/crm deleted`, "webhook", "delete", "crm")
	run(`error: .*webhooks/crm`, "webhook", "get", "crm")
}

// follower is a receiver that keeps the segments of users by what it is told, and refuses now and then.
type follower struct {
	mu      sync.Mutex
	seen    map[string]bool
	changes []followed
}

type followed struct {
	ID, User, Version string
	Entered, Left     []string
}

func (f *follower) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var told struct{ Changes []followed }
	if json.NewDecoder(req.Body).Decode(&told) != nil || rand.IntN(5) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, change := range told.Changes {
		if !f.seen[change.ID] {
			f.changes = append(f.changes, change)
		}
		f.seen[change.ID] = true
	}
}

// segments are those of every user, as it has been told.
func (f *follower) segments() map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortStableFunc(f.changes, func(a, b followed) int {
		return cmp.Or(cmp.Compare(len(a.Version), len(b.Version)), cmp.Compare(a.Version, b.Version))
	})
	in := map[string][]string{}
	for _, change := range f.changes {
		is := slices.DeleteFunc(in[change.User], func(name string) bool { return slices.Contains(change.Left, name) })
		in[change.User] = slices.Sorted(slices.Values(append(is, change.Entered...)))
	}
	return in
}

// TestSoakWebhooks: the process is killed under load; who has listened knows all segments of all users, and a signature that
// was taken before is not taken again. Two kills, twenty with KOHORTA_SOAK.
func TestSoakWebhooks(t *testing.T) {
	enginetest.ClickHouse(t) // skips where there is no engine
	kills := 2
	if os.Getenv("KOHORTA_SOAK") != "" {
		kills = 20
	}
	secrets := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "crm-secret"), []byte(hookSecret), 0o600))
	moves := freeAddress(t)
	s := &soak{}
	s.config = write(t, "kohorta.yaml", fmt.Sprintf(`{listen: %q, data_dir: %q, secrets_dir: %q, engines: {no_sync: true},
		webhooks: {listen: %q, sources: [{name: crm, secret: crm-secret}]}}`, freeAddress(t), filepath.Join(t.TempDir(), "engines"), secrets, moves))
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	f := &follower{seen: map[string]bool{}}
	receiver := httptest.NewServer(f)
	t.Cleanup(receiver.Close)
	_, err := kohorta(t, s.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", soakResources+
		fmt.Sprintf("webhooks: [{id: crm, url: %q, secret: crm-secret, batch_size: 10}]", receiver.URL)))
	require.NoError(t, err)
	_, err = s.evaluateAll(t)
	require.NoError(t, err)
	users := []string{"crm"}
	for i := range soakUsers {
		users = append(users, visitor(i))
	}

	for range kills {
		body := `{"user": "crm", "into": ["called"]}`
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		post := func() int {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+moves+"/v1/moves", strings.NewReader(body))
			require.NoError(t, err)
			req.Close = true // a connection that is kept would be one to the process that is killed
			req.Header.Set("Kohorta-Timestamp", timestamp)
			req.Header.Set("Kohorta-Signature", webhook.Sign([]secret.Secret{hookSecret}, timestamp, []byte(body)))
			response, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			return response.StatusCode
		}
		require.Equal(t, http.StatusOK, post())
		stop := s.load(t)
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond) // a moment is what this is about
		require.NoError(t, s.cmd.Process.Kill())
		require.Error(t, s.cmd.Wait(), "killed")
		again := process{config: s.config}
		again.start(t)
		require.NoError(t, again.client.conn.Close()) // the workers keep theirs, which finds the way back
		s.cmd = again.cmd
		require.Equal(t, http.StatusConflict, post(), "a signature is taken once")
		stop()

		var in, told map[string][]string
		require.Eventually(t, func() bool {
			r, err := s.client.memberships.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: users})
			in, told = map[string][]string{}, map[string][]string{}
			for _, membership := range r.GetMemberships() {
				user := membership.GetUserId()
				in[user], told[user] = slices.Sorted(slices.Values(membership.GetSegments())), slices.Sorted(slices.Values(f.segments()[user]))
			}
			return err == nil && reflect.DeepEqual(in, told)
		}, time.Minute, 100*time.Millisecond)
	}
	out, err := kohorta(t, s.client.conn.Target(), "webhook", "dead-letters", "crm")
	require.NoError(t, err)
	require.Contains(t, out, "no dead letters")
}
