package tiktok

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

var update = flag.Bool("update", false, "write the golden files")

// The canaries: a marked address and token, neither of which may show anywhere.
const (
	canaryEmail = "canary@example.com"
	canaryToken = "canary-token"
)

// serve starts a server and gives a client of it whose log is returned.
func serve(t *testing.T, handler http.HandlerFunc) (*Client, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(canaryToken), 0o600))
	var log bytes.Buffer
	c, err := New(Config{Account: "7000000000000000001", TokenFile: token, BaseURL: server.URL},
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

// TestRequests holds every request the client makes against its golden file, word for word.
func TestRequests(t *testing.T) {
	rows := func(t *testing.T) []destination.Row {
		return []destination.Row{
			row(t, "u1", email("Priya.Natarajan+spring@Example.ORG"), phone("+61 2 9374 4000")),
			row(t, "u2", email("Kim Lee@example.com"), identity.Input{Field: identity.GAID, Value: "38400000-8cf0-11bd-b23e-10b96e40000d"}),
			row(t, "u3", email("kimlee@example.com"), identity.Input{Field: identity.IDFA, Value: "6D92078A-8246-4BA4-AE5B-76104861E7DC"}),
		}
	}
	apply := func(op destination.Op) func(*testing.T, *Client) {
		return func(t *testing.T, c *Client) {
			batches, left := c.Split(rows(t), op)
			require.Empty(t, left)
			for _, b := range batches {
				result, err := c.Apply(t.Context(), "170000001", b)
				require.NoError(t, err)
				require.Equal(t, "r-1", result.RequestID)
			}
		}
	}
	const ok = `{"code":0,"message":"OK","request_id":"r-1"`
	for name, c := range map[string]struct {
		answer string
		do     func(*testing.T, *Client)
	}{
		"add":    {ok + `}`, apply(destination.Add)},
		"remove": {ok + `,"data":{}}`, apply(destination.Remove)},
		"ensure": {ok + `,"data":{"list":[],"page_info":{"total_page":0},"audience_id":"170000001"}}`, func(t *testing.T, c *Client) {
			id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip-tiktok", Name: `Audience "7"`})
			require.NoError(t, err)
			require.Equal(t, "170000001", id)
		}},
		"status": {ok + `,"data":{"list":[{"audience_details":{"audience_id":"170000001","is_valid":true}}]}}`, func(t *testing.T, c *Client) {
			_, err := c.Audience(t.Context(), "170000001")
			require.NoError(t, err)
		}},
		"delete": {ok + `}`, func(t *testing.T, c *Client) { require.NoError(t, c.DeleteAudience(t.Context(), "170000001")) }},
		"upload": {ok + `,"data":{"file_path":"0f3c9a77b1d24e60"}}`, func(t *testing.T, c *Client) {
			list := func(yield func(destination.Row, error) bool) {
				for _, r := range rows(t)[:2] {
					if !yield(r, nil) {
						return
					}
				}
			}
			for f, err := range c.Files(list, []audience.Scheme{identity.TikTokEmailBasic}) {
				require.NoError(t, err)
				ref, err := c.Upload(t.Context(), f)
				require.NoError(t, err)
				require.Equal(t, destination.FileRef{Path: "0f3c9a77b1d24e60", Kind: "EMAIL_SHA256"}, ref)
			}
		}},
		"ensure_file": {ok + `,"data":{"list":[],"page_info":{"total_page":0},"custom_audience_id":"180000001"}}`, func(t *testing.T, c *Client) {
			id, err := c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "seed"}, []destination.FileRef{{Path: "0f3c9a77b1d24e60", Kind: "EMAIL_SHA256"}})
			require.NoError(t, err)
			require.Equal(t, "180000001", id)
		}},
		"change_by_files": {ok + `,"data":{}}`, func(t *testing.T, c *Client) {
			for _, change := range []destination.FileChange{destination.Append, destination.Cut, destination.Replace} {
				require.NoError(t, c.ChangeByFiles(t.Context(), "180000001", change, []destination.FileRef{{Path: "0f3c9a77b1d24e62", Kind: "EMAIL_SHA256"}}))
			}
		}},
		"delete_file_audience": {ok + `}`, func(t *testing.T, c *Client) { require.NoError(t, c.DeleteFileAudience(t.Context(), "180000001")) }},
		"lookalike": {ok + `,"data":{"list":[],"page_info":{"total_page":0},"custom_audience_id":"190000001"}}`, func(t *testing.T, c *Client) {
			_, err := c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "vip-like", Seed: "180000001", Places: []string{"2077456"}, Size: "NARROW"})
			require.NoError(t, err)
		}},
		"check": {ok + `,"data":{}}`, func(t *testing.T, c *Client) { require.NoError(t, c.Check(t.Context())) }},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, canaryToken, r.Header.Get("Access-Token"))
				assert.True(t, strings.HasSuffix(r.URL.Path, "/"))
				var body bytes.Buffer
				_, err := body.ReadFrom(r.Body)
				assert.NoError(t, err)
				text := body.String()
				if _, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); params["boundary"] != "" {
					text = strings.ReplaceAll(strings.ReplaceAll(text, params["boundary"], "boundary"), "\r\n", "\n")
					assert.EqualValues(t, body.Len(), r.ContentLength)
				} else {
					assert.True(t, body.Len() == 0 || json.Valid(body.Bytes()))
				}
				fmt.Fprintf(&got, "%s %s\n%s\n", r.Method, r.URL, text)
				_, _ = w.Write([]byte(c.answer))
			})
			c.do(t, client)
			path := filepath.Join("testdata", name+".http")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

// TestSplit: one type of identifier a request, limits, and rows that cannot be sent.
func TestSplit(t *testing.T) {
	c, err := New(Config{Account: "1", TokenFile: "t", BatchRows: 2, EmailMode: "legacy"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	rows := []destination.Row{
		row(t, "u1", email("a.a@example.com"), phone("+48 601 100 200")),
		row(t, "only Meta's", identity.Input{Field: identity.MADID, Value: "6d92078a-8246-4ba4-ae5b-76104861e7dc"}),
		row(t, "u3", email("b@example.com"), email("c@example.com")),
	}
	batches, left := c.Split(rows, destination.Add)
	require.Equal(t, []destination.Rejection{{Row: 1, Reason: "has no e-mail, phone or device id that TikTok takes"}}, left)
	require.Len(t, batches, 3)
	for i, want := range []struct {
		scheme audience.Scheme
		users  []audience.UserID
	}{{identity.TikTokEmailLegacy, []audience.UserID{"u1", "u3"}}, {identity.TikTokEmailLegacy, []audience.UserID{"u3"}},
		{identity.TikTokPhone, []audience.UserID{"u1"}}} {
		require.Equal(t, []audience.Scheme{want.scheme}, batches[i].Schema)
		var users []audience.UserID
		for _, r := range batches[i].Rows {
			require.Len(t, r.Identifiers, 1)
			require.Equal(t, want.scheme, r.Identifiers[0].Scheme)
			users = append(users, r.User)
		}
		require.Equal(t, want.users, users)
	}
	batches, left = c.Split(nil, destination.Add)
	require.True(t, batches == nil && left == nil, "never an empty batch")
}

// TestBodyFits: the largest batch with the longest ids stays below 1 MB.
func TestBodyFits(t *testing.T) {
	c, err := New(Config{Account: strings.Repeat("9", 20), TokenFile: "t", BatchRows: 10_000}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	rows := make([]destination.Row, 10_000)
	for i := range rows {
		rows[i] = destination.Row{Identifiers: []audience.Identifier{{Scheme: identity.TikTokPhone, Value: fmt.Sprintf("%032d", i)}}}
	}
	batches, _ := c.Split(rows, destination.Remove)
	require.Len(t, batches, 2)
	body := appendPayload(nil, c.account, strings.Repeat("9", 20), &batches[0])
	require.LessOrEqual(t, len(body), maxBodyBytes)
	require.Greater(t, len(body), maxBodyBytes-2*rowBytes, "and uses it")
}

// TestEqualDigestsOnce: two users with one address are one row of the request.
func TestEqualDigestsOnce(t *testing.T) {
	same := row(t, "u1", phone("+48 601 100 200"))
	id := same.Identifiers[1:]
	b := destination.Batch{Op: destination.Add, Schema: []audience.Scheme{identity.TikTokPhone},
		Rows: []destination.Row{{User: "u1", Identifiers: id}, {User: "u2", Identifiers: id}}}
	require.Equal(t, 1, strings.Count(string(appendPayload(nil, "1", "2", &b)), `"id":`))
}

// TestClassify walks the table of 7 and the answers that are none.
func TestClassify(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   destination.Kind // 0: success
		scope  destination.Scope
	}{
		"success":                         {200, `{"code":0,"message":"OK"}`, 0, 0},
		"partly":                          {200, `{"code":20001,"data":{"failed_count":1}}`, 0, 0},
		"nothing to update":               {200, `{"code":40012}`, 0, 0},
		"revoked token, HTTP 200":         {200, `{"code":40105,"message":"x"}`, destination.Unauthorized, destination.OfApp},
		"no right":                        {200, `{"code":40001}`, destination.Unauthorized, destination.OfAccount},
		"bad row":                         {200, `{"code":40002}`, destination.Rejected, destination.OfAudience},
		"not editable":                    {200, `{"code":40002,"message":"The audience is Not Editable"}`, destination.Busy, destination.OfAudience},
		"not hashed":                      {200, `{"code":40062}`, destination.Rejected, destination.OfAudience},
		"gone":                            {200, `{"code":40007}`, destination.Gone, destination.OfAudience},
		"too many ids":                    {200, `{"code":40011}`, destination.TooLarge, destination.OfRequest},
		"limit of the advertiser":         {200, `{"code":40133}`, destination.RateLimited, destination.OfAccount},
		"limit of the app":                {200, `{"code":61000}`, destination.RateLimited, destination.OfApp},
		"write conflict":                  {200, `{"code":40202}`, destination.Busy, destination.OfAudience},
		"segment gateway":                 {200, `{"code":51063}`, destination.Transient, destination.OfRequest},
		"unknown, ours":                   {200, `{"code":49999}`, destination.Misconfigured, destination.OfAudience},
		"unknown, theirs":                 {200, `{"code":59999}`, destination.Transient, destination.OfRequest},
		"code as a text":                  {200, `{"code":"0"}`, destination.Transient, 0},
		"code as a fraction":              {200, `{"code":0.5}`, destination.Transient, 0},
		"no code":                         {200, `{"message":"OK"}`, destination.Transient, 0},
		"code null":                       {200, `{"code":null,"message":"OK"}`, destination.Transient, 0},
		"success of a broken server":      {500, `{"code":0}`, destination.Transient, 0},
		"error of a broken server":        {503, `{"code":60001}`, destination.Transient, destination.OfApp},
		"missing slash":                   {404, `404 page not found`, destination.Misconfigured, destination.OfAccount},
		"redirect":                        {302, ``, destination.Misconfigured, destination.OfAccount},
		"too large for the proxy":         {413, `<html>`, destination.TooLarge, 0},
		"too many for the proxy":          {429, `<html>`, destination.Transient, 0},
		"cut":                             {200, `{"code":0,"message":"O`, destination.Transient, 0},
		"empty":                           {200, ``, destination.Transient, 0},
		"plain text":                      {200, `Service Unavailable`, destination.Transient, 0},
		"data of another shape":           {200, `{"code":0,"data":[]}`, destination.Transient, 0},
		"an error beside whatever status": {400, `{"code":40105}`, destination.Unauthorized, destination.OfApp},
	} {
		t.Run(name, func(t *testing.T) {
			var out struct{}
			_, err := decode(destination.Answer{Status: c.status, Header: http.Header{}, Body: []byte(c.body)}, &out)
			if c.kind == 0 {
				require.NoError(t, err)
				return
			}
			var e *destination.Error
			require.ErrorAs(t, ofRows(err), &e)
			require.Equal(t, c.kind, e.Kind)
			require.Equal(t, c.scope, e.Scope)
		})
	}
	for code, v := range verdicts {
		if v.kind == destination.Misconfigured || v.kind == destination.Unauthorized || v.kind == destination.Gone {
			require.NotEmpty(t, v.remedy, "who must act must know what to do: %d", code)
		}
	}
}

// TestLadder: seconds, then minutes, then the end of the day, and from the start after a request that went through.
func TestLadder(t *testing.T) {
	var l ladder
	limited := func() *destination.Error {
		return &destination.Error{Kind: destination.RateLimited, Scope: destination.OfApp}
	}
	wait := func(now time.Time) time.Duration {
		e := limited()
		require.ErrorIs(t, l.note(e, now), error(e))
		return e.RetryAfter
	}
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		require.Equal(t, want, wait(now))
		require.Equal(t, want-want/2, wait(now.Add(want/2)), "requests that were under way climb no step")
		now = now.Add(want)
	}
	require.Equal(t, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Sub(now), wait(now))
	l.clear()
	require.Equal(t, time.Second, wait(now))
	other := &destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: 2 * time.Second}
	_ = l.note(other, now)
	require.Equal(t, 2*time.Second, other.RetryAfter, "one advertiser's limit is not the app's")
}

// TestStatus is the derivation of 3.4.
func TestStatus(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	const young, old, past, future = "2026-11-20 21:00:00", "2026-11-01 00:00:00", "2026-11-21 19:59:59", "2027-11-01 00:00:00"
	failed := "The file is broken " + canaryEmail
	for name, c := range map[string]struct {
		details  details
		state    destination.State
		writable bool
		size     int64
	}{
		"ready":      {details{Valid: true, Covered: 1500, Created: old, Expires: future}, destination.Ready, true, 1500},
		"expiring":   {details{Valid: true, Expiring: true, Covered: 1500, Expires: future}, destination.Expiring, true, 1500},
		"processing": {details{Created: young, Expires: future}, destination.Processing, true, -1},
		"failed":     {details{Created: young, Expires: future, Message: &failed}, destination.Blocked, true, -1},
		"expired":    {details{Created: old, Expires: past}, destination.Expired, false, -1},
		"too small":  {details{Created: old, Expires: future}, destination.TooSmall, true, -1},
		"no times":   {details{}, destination.TooSmall, true, -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := statusOf(c.details, now)
			require.Equal(t, c.state, s.State)
			require.Equal(t, c.writable, s.Writable)
			require.Equal(t, c.size, s.Low)
			require.NotContains(t, s.Reason, canaryEmail)
		})
	}
}

// TestTitle: the platform never cuts it, and it ends in the key.
func TestTitle(t *testing.T) {
	key := audience.AudienceID(strings.Repeat("k", 63))
	for _, spec := range []destination.AudienceSpec{{Key: "vip"}, {Key: "vip", Name: "vip"}, {Key: "vip", Name: "Audience 7"},
		{Key: "vip", Name: strings.Repeat("ż", 200)}, {Key: key, Name: strings.Repeat("ż", 200)}, {Key: key}} {
		name := title(spec)
		require.LessOrEqual(t, len(name), 70)
		require.Contains(t, name, string(spec.Key))
	}
	require.Equal(t, "vip.m3", title(destination.AudienceSpec{Key: "vip.m3", Name: "vip"}))
	require.Equal(t, "Audience 7 [vip]", title(destination.AudienceSpec{Key: "vip", Name: "Audience 7"}))
}

// TestCanary provokes every failure with marked values echoed back; neither may show in an error, a reason or the log.
func TestCanary(t *testing.T) {
	hash := fmt.Sprintf("%x", row(t, "u", email(canaryEmail)).Identifiers[0].Value)
	echo := strings.Join([]string{canaryEmail, canaryToken, hash}, " ")
	type reply struct {
		status int // 0: the connection breaks
		body   string
	}
	var next atomic.Value // a reply; handlers may outlive the call they answer
	next.Store(reply{})
	c, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
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
		file := destination.File{Name: "members-1.csv", Kind: "EMAIL_SHA256", Content: []byte(hash + "\n"), Rows: 1}
		ref, err := c.Upload(t.Context(), file)
		fmt.Fprintln(&shown, len(ref.Path), err, c.DeleteFileAudience(t.Context(), "1"))
		refs := []destination.FileRef{{Path: "p", Kind: "EMAIL_SHA256"}}
		_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "seed"}, refs)
		fmt.Fprintln(&shown, err, c.ChangeByFiles(t.Context(), "1", destination.Append, refs))
		like, likeErr := c.Lookalike(t.Context(), "1")
		_, err = c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "like", Seed: "1", Places: []string{"1"}, Size: "BROAD"})
		fmt.Fprintln(&shown, like, likeErr, err)
	}
	try()
	for code := range verdicts {
		next.Store(reply{200, fmt.Sprintf(`{"code":%d,"message":%q,"request_id":%q}`, code, echo, canaryToken)})
		try()
	}
	for _, body := range []string{echo, "<html>" + echo, "{" + echo, `{"code":"` + echo + `"}`, `{"code":0,"data":"` + echo + `"}`,
		`{"code":20001,"message":"` + echo + `","request_id":"` + canaryToken + `","data":{}}`,
		`{"code":0,"data":{"list":[{"audience_details":{"audience_id":"1","error_msg":"` + echo + `"}}]}}`} {
		for _, status := range []int{200, 302, 400, 413, 500} {
			next.Store(reply{status, body})
			try()
		}
	}
	require.Contains(t, log.String(), "batch partly successful")
	for _, canary := range []string{canaryEmail, hash, canaryToken} {
		require.NotContains(t, shown.String(), canary)
		require.NotContains(t, log.String(), canary)
	}
}

// TestConfig: what is wrong is named by its key, with what would be right.
func TestConfig(t *testing.T) {
	good := func() Config { return Config{Account: "7000000000000000001", TokenFile: "token"} }
	for field, spoil := range map[string]func(*Config){
		"account":             func(c *Config) { c.Account = "aadvid" },
		"token_file":          func(c *Config) { c.TokenFile = "" },
		"base_url":            func(c *Config) { c.BaseURL = "http://example.invalid" },
		"email_mode":          func(c *Config) { c.EmailMode = "gmail" },
		"batch_rows":          func(c *Config) { c.BatchRows = 10_001 },
		"requests_per_second": func(c *Config) { c.RequestsPerSecond = 51 },
	} {
		c := good()
		spoil(&c)
		err := c.Validate()
		require.ErrorIs(t, err, audience.ErrInvalid, field)
		var invalid *audience.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, field, invalid.Violations[0].Field)
		_, err = New(c, nil)
		require.Error(t, err)
	}
	c := good()
	require.NoError(t, c.Validate())
}

// FuzzAnswer: no answer, whatever its bytes, crashes the decoder or passes for success without the platform's code.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"code":0}`, `{"code":"0"}`, "<html>", `{"code":0,"data":{}}`, `{"code":20001,"data":null}`} {
		f.Add(200, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var out json.RawMessage
		if _, err := decode(destination.Answer{Status: status, Header: http.Header{}, Body: body}, &out); err == nil {
			var envelope map[string]any
			require.NoError(t, json.Unmarshal(body, &envelope))
			require.True(t, status < 500 || envelope["code"] != 0.0)
		}
	})
}
