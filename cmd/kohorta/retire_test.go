package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/schollz/progressbar/v3"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

const retiredResources = `
segments:
  - {id: everybody, expression: 'did("purchase", "all")'}
destinations:
  - {id: tiktok, platform: tiktok, account: "7000000000000000001", token_secret: tiktok-token, base_url: %q}
audiences:
  - {id: vip, segment: segments/everybody, destination: destinations/tiktok, max_removal_share: 1}
`

// TestNobodyStaysBehind: deleted and created again, an audience holds its members and nobody else; while the platform is
// away nothing is deleted, and no sync ends well.
func TestNobodyStaysBehind(t *testing.T) {
	box := sandbox.New(sandbox.Config{QuotasOff: true})
	var away atomic.Bool
	platforms := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		box.Handler().ServeHTTP(w, r)
	}))
	defer platforms.Close()
	address := startService(t).address()
	c, err := dial(address)
	require.NoError(t, err)
	defer c.conn.Close()
	names := []audience.UserID{"ann", "bob", "cid", "dan"}
	people := make([]*audiencev1.ProfileUpdate, len(names))
	rows := "user,id,day,amount\n"
	for i, name := range names {
		people[i] = person{user: name, email: string(name) + "@example.com", consents: true}.profile()
		rows += fmt.Sprintf("%s,%d,2026-01-01,1\n", name, i)
	}
	_, err = c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: people})
	require.NoError(t, err)
	do := func(args ...string) string {
		t.Helper()
		out, err := kohorta(t, address, args...)
		require.NoError(t, err, out)
		return out
	}
	do("import", write(t, "rows.csv", rows), "--set", "user=user", "--set", "event_id=id", "--set", "time=day", "--set", "value=amount")
	resources := write(t, "r.yaml", fmt.Sprintf(retiredResources, platforms.URL))
	do("apply", "--yes", "-f", resources)
	do("segment", "evaluate")
	require.Contains(t, do("sync", "start", "vip"), "4 confirmed")
	members := func() (all []int) {
		for _, a := range box.TikTok().Audiences() {
			if !a.Deleted {
				all = append(all, len(box.TikTok().Members(a.ID)))
			}
		}
		return all
	}
	require.Equal(t, []int{4}, members())

	away.Store(true)
	_, err = kohorta(t, address, "audience", "delete", "vip")
	require.ErrorContains(t, err, "delete it again later")
	require.Contains(t, do("audience", "list"), "vip")

	away.Store(false)
	do("audience", "delete", "vip")
	require.Empty(t, members())
	people[0] = person{user: "ann"}.profile()
	_, err = c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: people[:1]})
	require.NoError(t, err)
	do("apply", "--yes", "-f", resources)
	require.Contains(t, do("sync", "start", "vip"), "3 confirmed")
	require.Equal(t, []int{3}, members())
}

// TestWaitIsToldInFull: a bar has no room for until when and why.
func TestWaitIsToldInFull(t *testing.T) {
	var out bytes.Buffer
	bar := newBar(&out, true, progressbar.OptionShowCount())
	bar.show("waiting for tiktok until 21:54:00 UTC: rate limited", 7, 9)
	require.Contains(t, out.String(), "waiting for tiktok until 21:54:00 UTC: rate limited …")
}
