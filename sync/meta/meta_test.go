package meta

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

var update = flag.Bool("update", false, "write the golden files")

// The canaries: a marked address and secrets, none of which may show anywhere.
const (
	canaryEmail  = "canary@example.com"
	canaryToken  = "canary-token"
	canarySecret = "canary-app-secret"
)

// serve starts a server and gives a client of it whose log is returned.
func serve(t *testing.T, handler http.HandlerFunc) (*Client, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	token, secret := filepath.Join(dir, "token"), filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(token, []byte(canaryToken), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte(canarySecret), 0o600))
	var log bytes.Buffer
	c, err := New(Config{Account: "1122334455", TokenFile: token, AppSecretFile: secret, BaseURL: server.URL},
		slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	return c, &log
}

// row is a user with these inputs' identifiers.
func row(t testing.TB, user audience.UserID, inputs ...identity.Input) destination.Row {
	h, err := identity.NewHasher("")
	require.NoError(t, err)
	ids, _ := h.Identify(inputs)
	return destination.Row{User: user, Identifiers: ids}
}

func email(v identity.Raw) identity.Input { return identity.Input{Field: identity.Email, Value: v} }
func phone(v identity.Raw) identity.Input { return identity.Input{Field: identity.Phone, Value: v} }

// replaceAnswer serves as the answer of every call of a replace: the audience at rest, and rows received.
const replaceAnswer = `{"id":"120210000000000001","subtype":"CUSTOM","operation_status":{"code":200},"audience_id":"120210000000000001","num_received":1}`

// TestRequests holds every request the client makes against its golden file, word for word.
func TestRequests(t *testing.T) {
	rows := func(t *testing.T) []destination.Row {
		return []destination.Row{
			row(t, "u1", email("Ann.Lee@example.org")),
			row(t, "u2", phone("+49 151 12345678")),
			row(t, "u3", email("bea@example.org"), phone("+61 2 9374 4000"), identity.Input{Field: identity.IDFA, Value: "6D92078A-8246-4BA4-AE5B-76104861E7DC"}),
			row(t, "u4", email("a@example.org"), email("b@example.org")),
		}
	}
	apply := func(op destination.Op) func(*testing.T, *Client) {
		return func(t *testing.T, c *Client) {
			batches, left := c.Split(rows(t), op)
			require.Empty(t, left)
			require.Len(t, batches, 1)
			_, err := c.Apply(t.Context(), "120210000000000001", batches[0])
			require.NoError(t, err)
		}
	}
	for name, c := range map[string]struct {
		answer string
		do     func(*testing.T, *Client)
	}{
		"add":    {`{"audience_id":"120210000000000001","session_id":"1","num_received":4,"num_invalid_entries":0,"invalid_entry_samples":[]}`, apply(destination.Add)},
		"remove": {`{"audience_id":"120210000000000001","session_id":1,"num_received":4,"num_invalid_entries":0,"invalid_entry_samples":{}}`, apply(destination.Remove)},
		"ensure": {`{"data":[],"id":"120210000000000001"}`, func(t *testing.T, c *Client) {
			id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip-meta", Name: `Audience "7"`})
			require.NoError(t, err)
			require.Equal(t, "120210000000000001", id)
		}},
		"status": {`{"id":"120210000000000001","approximate_count_lower_bound":-1,"operation_status":{"code":200}}`, func(t *testing.T, c *Client) {
			_, err := c.Audience(t.Context(), "120210000000000001")
			require.NoError(t, err)
		}},
		"delete": {`{"success":true}`, func(t *testing.T, c *Client) { require.NoError(t, c.DeleteAudience(t.Context(), "120210000000000001")) }},
		"erase": {`{"session_id":"1","num_received":4,"num_invalid_entries":0,"invalid_entry_samples":{}}`, func(t *testing.T, c *Client) {
			batches, _ := c.Split(rows(t), destination.Remove)
			_, err := c.Erase(t.Context(), batches[0])
			require.NoError(t, err)
		}},
		"replace": {replaceAnswer, func(t *testing.T, c *Client) {
			r, err := c.BeginReplace(t.Context(), "120210000000000001", destination.ReplaceSpec{Rows: 10})
			require.NoError(t, err)
			batches, _ := c.Split(rows(t), destination.Add)
			for i, last := range []bool{false, false, true} {
				part := batches[0]
				part.Rows = part.Rows[i : i+1]
				_, err = r.Send(t.Context(), part, last)
				require.NoError(t, err)
			}
			require.NoError(t, r.Finish(t.Context()))
		}},
		"value": {replaceAnswer, func(t *testing.T, c *Client) {
			valued := rows(t)[:2]
			valued[0].Value, valued[0].HasValue, valued[0].Limited = 44.5, true, true
			valued[1].HasValue = true
			batches, left := c.Split(valued, destination.Add)
			require.Empty(t, left)
			_, err := c.Apply(t.Context(), "120210000000000001", batches[0])
			require.NoError(t, err)
			valued[0].HasValue, valued[0].Limited = false, false
			batches, left = c.Split(valued, destination.Remove)
			require.Empty(t, left)
			_, err = c.Apply(t.Context(), "120210000000000001", batches[0])
			require.NoError(t, err)
		}},
		"lookalike": {`{"data":[],"id":"120210000000000001"}`, func(t *testing.T, c *Client) {
			_, err := c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "vip-like", Name: "Audience 8", Seed: "120210000000000001",
				Places: []string{"DE"}, Ratio: 0.03, StartingRatio: 0.01})
			require.NoError(t, err)
		}},
		"check": {`{"tos_accepted":{"custom_audience_tos":1}}`, func(t *testing.T, c *Client) { require.NoError(t, c.Check(t.Context())) }},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "Bearer "+canaryToken, r.Header.Get("Authorization"))
				var body bytes.Buffer
				_, err := body.ReadFrom(r.Body)
				assert.NoError(t, err)
				fmt.Fprintf(&got, "%s %s\n%s\n", r.Method, r.URL, fixedSession(t, body.Bytes()))
				_, _ = w.Write([]byte(c.answer))
			})
			c.do(t, client)
			golden(t, name+".http", got.String())
		})
	}
}

// fixedSession puts 1 for the session's random id.
func fixedSession(t *testing.T, body []byte) string {
	var request struct {
		Session struct {
			ID json.Number `json:"session_id"`
		} `json:"session"`
	}
	if len(body) == 0 {
		return ""
	}
	assert.True(t, json.Valid(body), "bodies are valid JSON")
	_ = json.Unmarshal(body, &request)
	if request.Session.ID == "" {
		return string(body)
	}
	return strings.Replace(string(body), `"session_id":`+request.Session.ID.String(), `"session_id":1`, 1)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestProof is the worked proof of 1.2.
func TestProof(t *testing.T) {
	require.Equal(t, "02810c917b3e327d0bc6ccf57ac73ac327c135ce03a538f1a157997bb973e258",
		proof("EAATESTTOKEN123", "0123456789abcdef0123456789abcdef"))
}

// TestRenewedToken: a token is in force as soon as its file has changed.
func TestRenewedToken(t *testing.T) {
	var seen []string
	old, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization")+" "+r.URL.Query().Get("appsecret_proof")[:4])
		_, _ = w.Write([]byte(`{"tos_accepted":{"custom_audience_tos":1}}`))
	})
	token, secret := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(token, []byte(canaryToken), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte(canarySecret), 0o600))
	c, err := New(Config{Account: "1122334455", TokenFile: token, AppSecretFile: secret, BaseURL: strings.TrimSuffix(old.root, "/v26.0")}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, c.Check(t.Context()))
	require.NoError(t, os.WriteFile(token, []byte("renewed"), 0o600))
	require.NoError(t, c.Check(t.Context()))
	require.Equal(t, []string{"Bearer " + canaryToken + " " + proof(canaryToken, canarySecret)[:4], "Bearer renewed " + proof("renewed", canarySecret)[:4]}, seen)
}

// TestSplit: columns, limits, and rows that cannot be sent.
func TestSplit(t *testing.T) {
	c, err := New(Config{Account: "1", TokenFile: "t", BatchRows: 2, Columns: []string{"EMAIL", "PHONE", "COUNTRY"}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	country := identity.Input{Field: identity.Country, Value: "pl"}
	rows := []destination.Row{
		row(t, "only a country", country),
		row(t, "e-mail", email("a@example.com"), country),
		row(t, "nothing"),
		row(t, "device", identity.Input{Field: identity.MADID, Value: "6d92078a-8246-4ba4-ae5b-76104861e7dc"}),
		row(t, "two", email("b@example.com"), email("c@example.com"), phone("+48 601 100 200")),
	}
	batches, left := c.Split(rows, destination.Add)
	const reason = "has no e-mail, phone or device id that this account sends"
	require.Equal(t, []destination.Rejection{{Row: 0, Reason: reason}, {Row: 2, Reason: reason}, {Row: 3, Reason: reason}}, left)
	require.Len(t, batches, 2)
	require.Equal(t, []audience.Scheme{identity.MetaEmail, identity.MetaPhone, identity.MetaCountry}, batches[0].Schema)
	require.Len(t, batches[0].Rows, 2)
	require.Equal(t, []audience.Scheme{identity.MetaEmail}, batches[1].Schema, "the second e-mail of the last user")
	require.EqualValues(t, "two", batches[1].Rows[0].User)

	batches, left = c.Split(rows, destination.Remove)
	require.Len(t, left, 2, "a removal carries columns that are no longer configured")
	require.Len(t, batches, 2)
	batches, left = c.Split(nil, destination.Add)
	require.True(t, batches == nil && left == nil, "never an empty batch")
}

// TestSamples: every form of sample on record, and forms that are not.
func TestSamples(t *testing.T) {
	b := &destination.Batch{Op: destination.Add, Schema: []audience.Scheme{identity.MetaEmail, identity.MetaPhone},
		Rows: []destination.Row{row(t, "u1", email("a@example.com")), row(t, "u2", email("b@example.com")), row(t, "u3", email("b@example.com"))}}
	text := func(i int) string { return string(layout{schemes: b.Schema}.appendRow(nil, &b.Rows[i])) }
	spaced := strings.ReplaceAll(text(1), ",", ", ")
	sample := func(v any) json.RawMessage {
		encoded, err := json.Marshal(v)
		require.NoError(t, err)
		return encoded
	}
	for name, c := range map[string]struct {
		samples json.RawMessage
		want    []destination.Rejection
	}{
		"none":                     {nil, nil},
		"empty object":             {sample(map[string]string{}), nil},
		"empty list":               {sample([]string{}), nil},
		"row to reason":            {sample(map[string]string{text(0): "bad\x00 hash " + canaryEmail}), []destination.Rejection{{Row: 0, Reason: "bad  hash [value]"}}},
		"spaces, two equal rows":   {sample(map[string]string{spaced: "bad"}), []destination.Rejection{{Row: 1, Reason: "bad"}, {Row: 2, Reason: "bad"}}},
		"list of rows":             {sample([]string{text(0)}), []destination.Rejection{{Row: 0, Reason: "refused by Meta without a reason"}}},
		"list of rows as lists":    {sample([][]string{{strings.Trim(text(0)[2:66], `"`), ""}}), []destination.Rejection{{Row: 0, Reason: "refused by Meta without a reason"}}},
		"list of reasons":          {sample([]string{"bad hash"}), nil},
		"a row we did not send":    {sample(map[string]string{`["x","y"]`: "bad"}), nil},
		"a reason that is no text": {sample(map[string]int{text(0): 7}), []destination.Rejection{{Row: 0, Reason: "7"}}},
		"something else":           {json.RawMessage(`"x"`), nil},
	} {
		t.Run(name, func(t *testing.T) { require.Empty(t, cmp.Diff(c.want, namedRows(c.samples, b.Schema, b.Rows))) })
	}
}

// TestApplyCounts: what is neither named nor counted is confirmed, and no more than the rows can be refused.
func TestApplyCounts(t *testing.T) {
	var answer string
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) })
	batches, _ := c.Split([]destination.Row{row(t, "u1", email("a@example.com")), row(t, "u2", email("b@example.com"))}, destination.Add)
	for body, unnamed := range map[string]int{
		`{"audience_id":"1","num_received":2,"num_invalid_entries":0,"invalid_entry_samples":{}}`:  0,
		`{"audience_id":"1","num_received":2,"num_invalid_entries":1,"invalid_entry_samples":[]}`:  1,
		`{"audience_id":"1","num_received":2,"num_invalid_entries":99,"invalid_entry_samples":{}}`: 2,
		`{"audience_id":1,"session_id":7421187300012345678,"num_received":9}`:                      0,
	} {
		answer = body
		result, err := c.Apply(t.Context(), "1", batches[0])
		require.NoError(t, err, body)
		require.Equal(t, unnamed, result.Unnamed, body)
		require.Empty(t, result.Rejected)
	}
	for _, body := range []string{``, `{}`, `{"success":true}`, `[]`, `null`, `"ok"`, `{"num_received":2`, `Service Unavailable`,
		`{"audience_id":"1","num_received":"x"}`, `<html></html>`} {
		answer = body
		_, err := c.Apply(t.Context(), "1", batches[0])
		var e *destination.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, destination.Transient, e.Kind, body)
	}
	for name, b := range map[string]destination.Batch{
		"no rows":      {Op: destination.Add, Schema: batches[0].Schema},
		"no schema":    {Op: destination.Add, Rows: batches[0].Rows},
		"no operation": {Schema: batches[0].Schema, Rows: batches[0].Rows},
	} {
		_, err := c.Apply(t.Context(), "1", b)
		require.Error(t, err, name)
	}
	_, err := c.Apply(t.Context(), "../act_1", batches[0])
	require.Error(t, err, "an id is digits")
}

// TestCanary provokes every failure with marked values echoed back; none may show in an error, a reason or the log.
func TestCanary(t *testing.T) {
	hash := fmt.Sprintf("%x", row(t, "u", email(canaryEmail)).Identifiers[0].Value)
	echo := strings.Join([]string{canaryEmail, canaryToken, canarySecret[:6], hash, proof(canaryToken, canarySecret)}, " ")
	type reply struct {
		status int // 0: the connection breaks
		body   string
	}
	var next atomic.Value // a reply; handlers may outlive the call they answer
	next.Store(reply{})
	c, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Ad-Api-Version-Warning", "moved "+echo)
		w.Header().Set("facebook-api-version", "v27.0")
		answer := next.Load().(reply)
		if answer.status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(answer.body))
	})
	batches, _ := c.Split([]destination.Row{row(t, "u1", email(canaryEmail))}, destination.Add)
	var shown strings.Builder
	try := func() {
		result, err := c.Apply(t.Context(), "1", batches[0])
		fmt.Fprintf(&shown, "%+v %v %#v\n", result, err, err)
		_, err = c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
		fmt.Fprintln(&shown, err)
		s, err := c.Audience(t.Context(), "1")
		fmt.Fprintln(&shown, s, err, c.DeleteAudience(t.Context(), "1"), c.Check(t.Context()))
		r := &replacement{client: c, audience: "1", session: 1, number: 1}
		for range 2 {
			result, err = r.Send(t.Context(), batches[0], false)
			fmt.Fprintf(&shown, "%+v %v %v\n", result, err, r.Finish(t.Context()))
		}
		c.endReplacing("1", r)
		_, err = c.BeginReplace(t.Context(), "1", destination.ReplaceSpec{})
		like, likeErr := c.Lookalike(t.Context(), "1")
		fmt.Fprintln(&shown, err, like, likeErr)
		_, err = c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "like", Seed: "1", Places: []string{"PL"}, Ratio: 0.01})
		fmt.Fprintln(&shown, err)
		removal := batches[0]
		removal.Op = destination.Remove
		result, err = c.Erase(t.Context(), removal)
		fmt.Fprintln(&shown, result, err)
	}
	try()
	for code := range verdicts {
		next.Store(reply{400, fmt.Sprintf(`{"error":{"message":%q,"code":%d,"error_subcode":%d,"error_user_msg":%q,"error_user_title":%q,"fbtrace_id":%q}}`,
			echo, code[0], code[1], echo, echo, canaryToken)})
		try()
	}
	for _, body := range []string{echo, "<html>" + echo, "{" + echo, `{"error":"` + echo + `"}`, `{"data":"` + echo + `"}`,
		`{"id":"1","operation_status":{"code":471,"description":"` + echo + `"}}`,
		`{"audience_id":"1","num_received":1,"num_invalid_entries":1,"invalid_entry_samples":{"[\"` + hash + `\"]":"` + echo + `"}}`} {
		for _, status := range []int{200, 302, 400, 413, 500} {
			next.Store(reply{status, body})
			try()
		}
	}
	require.Contains(t, log.String(), "api version is not the one asked for")
	for _, canary := range []string{canaryEmail, hash, canaryToken, canarySecret, proof(canaryToken, canarySecret)} {
		require.NotContains(t, shown.String(), canary)
		require.NotContains(t, log.String(), canary)
	}
}

// TestLostInTheMiddle: a context that ends is told as such, and not as the platform's failure.
func TestLostInTheMiddle(t *testing.T) {
	done := make(chan struct{})
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-done })
	t.Cleanup(func() { close(done) }) // before the server closes, which waits for its requests
	batches, _ := c.Split([]destination.Row{row(t, "u1", email("a@example.com"))}, destination.Add)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Apply(ctx, "1", batches[0])
	require.ErrorIs(t, err, ctx.Err())
}
