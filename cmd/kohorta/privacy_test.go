package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

const bothPlatforms = `
segments:
  - {id: everybody, expression: 'did("purchase", "all")'}
destinations:
  - {id: meta, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %[1]q}
  - {id: tiktok, platform: tiktok, account: "7000000000000000001", token_secret: tiktok-token, base_url: %[1]q}
audiences:
  - {id: all-meta, segment: segments/everybody, destination: destinations/meta, max_removal_share: 1}
  - {id: all-tiktok, segment: segments/everybody, destination: destinations/tiktok, max_removal_share: 1}
`

// platforms is both stand-ins, which can be away.
type awayPlatforms struct {
	*sandbox.Server
	url  string
	away atomic.Bool
}

func startAwayPlatforms(t *testing.T) *awayPlatforms {
	t.Helper()
	p := &awayPlatforms{Server: sandbox.New(sandbox.Config{QuotasOff: true})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.away.Load() {
			panic(http.ErrAbortHandler)
		}
		p.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// held is how many people each platform holds in all its audiences.
func (p *awayPlatforms) held() (meta, tiktok int) {
	for _, a := range p.Meta().Audiences() {
		meta += len(p.Meta().Members(a.ID))
	}
	for _, a := range p.TikTok().Audiences() {
		tiktok += len(p.TikTok().Members(a.ID))
	}
	return meta, tiktok
}

// synced is a service whose audiences hold some people on both platforms.
func synced(t *testing.T, s *service, platforms *awayPlatforms, names ...audience.UserID) (c *client, do func(args ...string) string) {
	t.Helper()
	c, err := dial(s.address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.conn.Close() })
	people := make([]*audiencev1.ProfileUpdate, len(names))
	rows := "user,id,day,amount\n"
	for i, name := range names {
		people[i] = person{user: name, email: string(name) + "@example.com", consents: true}.profile()
		rows += fmt.Sprintf("%s,%d,2026-01-01,1\n", name, i)
	}
	_, err = c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: people})
	require.NoError(t, err)
	do = func(args ...string) string {
		t.Helper()
		out, err := kohorta(t, s.address(), args...)
		require.NoError(t, err, out)
		return out
	}
	do("import", write(t, "rows.csv", rows), "--set", "user=user", "--set", "event_id=id", "--set", "time=day", "--set", "value=amount")
	do("apply", "--yes", "-f", write(t, "r.yaml", fmt.Sprintf(bothPlatforms, platforms.url)))
	do("segment", "evaluate")
	for _, id := range []string{"all-meta", "all-tiktok"} {
		require.Contains(t, do("sync", "start", id), fmt.Sprintf("%d confirmed", len(names)))
	}
	return c, do
}

// TestErasedEverywhere: after it nothing of the user is here or there, also when a platform was away and the service was
// started again meanwhile; nobody else is touched, and what comes late is refused.
func TestErasedEverywhere(t *testing.T) {
	platforms := startAwayPlatforms(t)
	config := testConfig(t)
	s, stop := startConfigured(t, config)
	c, do := synced(t, s, platforms, "ann", "bob", "cid")
	do("user", "move", "ann", "--into", "everybody", "--reason", "sponsor")
	require.Contains(t, do("user", "export", "ann"), `"delivery"`)

	platforms.away.Store(true)
	erased, err := c.privacy.EraseUser(t.Context(), &audiencev1.EraseUserRequest{UserId: "ann"})
	require.NoError(t, err)
	again, err := c.privacy.EraseUser(t.Context(), &audiencev1.EraseUserRequest{UserId: "ann"})
	require.NoError(t, err)
	require.Equal(t, erased.GetRun().GetName(), again.GetRun().GetName())
	require.Eventually(t, func() bool {
		run, err := c.runs.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: erased.GetRun().GetName()})
		require.NoError(t, err)
		return strings.HasPrefix(run.GetRun().GetStage(), "waiting for platforms")
	}, time.Minute, 50*time.Millisecond)
	require.Contains(t, do("user", "segments", "ann"), "in no segment")
	require.NotContains(t, do("user", "export", "ann"), `"event"`, "what is stored goes at once")
	_, err = kohorta(t, s.address(), "user", "consent", "ann")
	require.ErrorContains(t, err, "erased")
	meta, tiktok := platforms.held()
	require.Equal(t, []int{3, 3}, []int{meta, tiktok})
	stop()

	platforms.away.Store(false)
	s, _ = startConfigured(t, config)
	subject := erased.GetRun().GetSubject()
	c, err = dial(s.address())
	require.NoError(t, err)
	defer c.conn.Close()
	var run *audiencev1.Run
	require.Eventually(t, func() bool {
		runs, err := c.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Subject: subject, PageSize: 1})
		require.NoError(t, err)
		run = runs.GetRuns()[0]
		return run.GetState() == audiencev1.Run_STATE_SUCCEEDED
	}, time.Minute, 50*time.Millisecond, "%v", run)
	notes := strings.Join(run.GetNotes(), "\n")
	require.Contains(t, notes, "destinations/meta: by the word of meta none of 1 audience holds the user, nor any other of the account")
	require.Contains(t, notes, "destinations/tiktok: by the word of tiktok none of 1 audience holds the user")
	meta, tiktok = platforms.held()
	require.Equal(t, []int{2, 2}, []int{meta, tiktok})
	out, err := kohorta(t, s.address(), "user", "export", "ann")
	require.NoError(t, err)
	require.Empty(t, out)
	out, err = kohorta(t, s.address(), "user", "segments", "bob")
	require.NoError(t, err)
	require.Contains(t, out, "everybody")
	out, err = kohorta(t, s.address(), "audit")
	require.NoError(t, err)
	require.Contains(t, out, "PrivacyService.EraseUser")
	require.Contains(t, out, subject)
	require.NotContains(t, out, "ann")
	out, err = kohorta(t, s.address(), "audit", "--actor", "nobody")
	require.NoError(t, err)
	require.Contains(t, out, "no entry is of this actor")

	_, err = kohorta(t, s.address(), "user", "readmit", "ann")
	require.NoError(t, err)
	_, err = kohorta(t, s.address(), "user", "consent", "ann")
	require.NoError(t, err)
}

// TestStopsLeaveAtOnce: ordered off, or moved out of the segment, a user leaves the platforms without a sync, and comes back with the
// next one after it has ended.
func TestStopsLeaveAtOnce(t *testing.T) {
	platforms := startAwayPlatforms(t)
	s := startService(t)
	_, do := synced(t, s, platforms, "ann", "bob", "cid")
	holds := func(meta, tiktok int) {
		t.Helper()
		require.Eventually(t, func() bool {
			m, k := platforms.held()
			return m == meta && k == tiktok
		}, time.Minute, 20*time.Millisecond)
	}
	do("user", "stop", "ann", "--audience", "all-meta")
	holds(2, 3)
	do("user", "stop", "bob")
	holds(1, 2)
	do("user", "move", "cid", "--out-of", "everybody")
	holds(0, 1)
	do("sync", "start", "all-meta")
	do("sync", "start", "all-tiktok")
	holds(0, 1)

	do("user", "resume", "ann", "--audience", "all-meta")
	do("user", "resume", "bob")
	do("user", "move", "cid", "--release", "everybody")
	do("sync", "start", "all-meta")
	do("sync", "start", "all-tiktok")
	holds(3, 3)
}
