package destination

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClean(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain words stay":  {"(#100) Missing required field(s): advertiser_ids.", "(#100) Missing required field(s): advertiser_ids."},
		"e-mail":            {"bad row ann.lee+x@example.org here", "bad row [value] here"},
		"digest":            {`id "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79" unknown`, `id "[value]" unknown`},
		"phone":             {"no user +48 601 100 200!", "no user [value]!"},
		"phone, digits":     {"no user 48601100200", "no user [value]"},
		"device id":         {"6d92078a-8246-4ba4-ae5b-76104861e7dc refused", "[value] refused"},
		"token":             {"token EAATESTTOKEN123EAATESTTOKEN123 expired", "token [value] expired"},
		"audience id stays": {"audience 120210000000000001 gone", "audience 120210000000000001 gone"},
		"long names stay":   {"data_source_of_the_audience_does_not_support_it", "data_source_of_the_audience_does_not_support_it"},
		"control":           {"a\x00b\nc\xff", "a b c?"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, Clean(c.in)) })
	}
	require.Equal(t, strings.Repeat("x ", 150)+"…", Clean(strings.Repeat("x ", 1000)))
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(content string) string {
		path := filepath.Join(dir, "token")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	got, err := ReadSecret("token_file", write(" canary-token \n"))
	require.NoError(t, err)
	require.Equal(t, Secret("canary-token"), got)
	encoded, err := json.Marshal(got)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", got, got, got, got, got, got, got), string(encoded)} {
		require.NotContains(t, shown, "canary")
		require.NotContains(t, shown, fmt.Sprintf("%x", "canary"))
	}
	for name, path := range map[string]string{
		"missing": filepath.Join(dir, "nowhere"), "empty": write(" \n"), "a directory": dir,
	} {
		if name == "empty" {
			path = write("\n")
		}
		_, err := ReadSecret("token_file", path)
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, Unauthorized, e.Kind, name)
		require.ErrorContains(t, err, "token_file "+path, name)
		require.NotEmpty(t, e.Remedy, name)
	}
	_, err = ReadSecret("token_file", write("canary one\ncanary two"))
	require.ErrorContains(t, err, "one line")
	require.NotContains(t, err.Error(), "canary")
}

func TestSend(t *testing.T) {
	var requests int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		case "/endless":
			for range maxAnswerBytes/1024 + 1 {
				_, _ = w.Write(make([]byte, 1024))
			}
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	send := func(ctx context.Context, path string) (Answer, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path+"?canary=1", nil)
		require.NoError(t, err)
		return Send(NewHTTPClient(200*time.Millisecond), req)
	}

	answer, err := send(t.Context(), "/redirect")
	require.NoError(t, err)
	require.Equal(t, http.StatusFound, answer.Status)
	require.Equal(t, 1, requests, "a redirect is not followed")

	for _, path := range []string{"/cut", "/endless", "/slow"} {
		_, err := send(t.Context(), path)
		var e *Error
		require.ErrorAs(t, err, &e, path)
		require.Equal(t, Transient, e.Kind, path)
		require.NotContains(t, err.Error(), "canary", path)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = send(ctx, "/slow")
	require.ErrorIs(t, err, context.Canceled)
	var e *Error
	require.NotErrorAs(t, err, &e)
}

func TestErrorSaysAll(t *testing.T) {
	err := fmt.Errorf("add: %w", &Error{Kind: Misconfigured, Code: "200/1870034", Remedy: "accept the terms", Err: context.DeadlineExceeded})
	require.EqualError(t, err, "add: misconfigured (code 200/1870034): context deadline exceeded; accept the terms")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for k := Transient; k <= Gone; k++ {
		require.NotEqual(t, "unknown", k.String())
	}
	for s := OfRequest; s <= OfApp; s++ {
		require.NotEqual(t, "unknown", s.String())
	}
	for s := Ready; s <= Expired; s++ {
		require.NotEqual(t, "unknown", s.String())
	}
	for op := Add; op <= Remove; op++ {
		require.NotContains(t, op.String(), "unknown")
	}
}

// TestSecretGrace: the last good secret serves while its file is empty, for a minute and no longer.
func TestSecretGrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("one"), 0o600))
	f := NewSecretFile("token_file", path, slog.New(slog.DiscardHandler))
	_, err := f.Read()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	got, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, Secret("one"), got)
	f.good = f.good.Add(-secretGrace)
	_, err = f.Read()
	require.ErrorContains(t, err, "empty")
	_, err = f.Read()
	require.Error(t, err, "it does not come back by itself")
	require.NoError(t, os.WriteFile(path, []byte("two"), 0o600))
	got, err = f.Read()
	require.NoError(t, err)
	require.Equal(t, Secret("two"), got)
}
