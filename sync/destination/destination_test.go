package destination

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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

func TestBudgetTakes(t *testing.T) {
	b := Budget{Requests: 20, Per: 5 * time.Minute}
	for requests, want := range map[int64]time.Duration{0: 0, 1: 0, 20: 0, 40: 10 * time.Minute, 200: 50 * time.Minute} {
		require.Equal(t, want, b.Takes(requests))
	}
	require.Zero(t, Budget{}.Takes(1_000_000))
}
