package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/engine/enginetest"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// Tokens of each platform, of which one is good after the other.
const rotations = 4

func tokenOf(platform string, n int) string { return fmt.Sprintf("%s-token-%d", platform, n) }

// rotating are platforms that revoke a token while a request that changes members bears it.
type rotating struct {
	*trapped
	secrets string // the directory

	mu   sync.Mutex
	door map[string]*door // by platform
}

// door is what goes on before one platform.
type door struct {
	path     string // where members are changed
	refusal  string // of a token, in the platform's words
	token    int    // in the file
	requests int
	refused  int
	revokeAt int // the request whose token is revoked, for good; 0: every seventh, and replaced
}

func startRotating(t *testing.T) *rotating {
	t.Helper()
	tokens := func(platform, account string) map[string][]string {
		of := map[string][]string{}
		for n := range rotations + 2 {
			of[tokenOf(platform, n)] = []string{account}
		}
		return of
	}
	r := &rotating{secrets: secretsOfSandbox(t), door: map[string]*door{
		"meta":   {path: "/users", refusal: `"code":190`},
		"tiktok": {path: "/segment/mapping/", refusal: `"code":40105`},
	}}
	r.trapped = &trapped{Server: sandbox.New(sandbox.Config{
		QuotasOff: true,
		Meta:      sandbox.MetaConfig{Tokens: tokens("meta", "1122334455")},
		TikTok:    sandbox.TikTokConfig{Tokens: tokens("tiktok", "7000000000000000001")},
	})}
	for platform := range r.door {
		r.replace(platform, 0)
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// replace puts a token into the file of a platform: every other one in the way editors do it, under the eyes of whoever reads.
func (r *rotating) replace(platform string, n int) {
	file, token := filepath.Join(r.secrets, platform+"-token"), []byte(tokenOf(platform, n))
	if n%2 == 1 {
		_ = os.WriteFile(file, nil, 0o600)
		_ = os.WriteFile(file, token, 0o600)
		return
	}
	_ = os.WriteFile(file+".new", token, 0o600)
	_ = os.Rename(file+".new", file)
}

func (r *rotating) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for platform, d := range r.door {
		if req.Method == http.MethodGet || !strings.HasSuffix(req.URL.Path, d.path) {
			continue
		}
		d.requests++
		after := func() {}
		switch {
		case d.requests == d.revokeAt:
			r.RevokeToken(tokenOf(platform, d.token))
		case d.revokeAt == 0 && d.requests%7 == 0 && d.token < rotations:
			r.RevokeToken(tokenOf(platform, d.token))
			d.token++
			if d.token > rotations/2 { // the new one comes once the old one was refused
				after = func() { r.replace(platform, d.token) }
			} else {
				r.replace(platform, d.token)
			}
		}
		answer := httptest.NewRecorder()
		r.Handler().ServeHTTP(answer, req)
		if strings.Contains(answer.Body.String(), d.refusal) {
			d.refused++
		}
		after()
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return
	}
	r.Handler().ServeHTTP(w, req)
}

// at does something at the door of a platform.
func (r *rotating) at(platform string, do func(*door)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(r.door[platform])
}

// TestRotationUnderLoad: a real process syncs, batch by batch, while the tokens in its files are replaced and the old ones
// revoked, each with a request that bears it under way. That request is repeated, and that is all. A token that is revoked and
// not replaced is the state of its destination, with its remedy, until the file holds another: then all goes on by itself.
func TestRotationUnderLoad(t *testing.T) {
	enginetest.ClickHouse(t) // skips where there is no engine
	platforms := startRotating(t)
	p := &process{config: write(t, "kohorta.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata_dir: %s\nsecrets_dir: %s\nnow: 2026-07-01T12:00:00Z\nengines: {no_sync: true}\n",
		filepath.Join(t.TempDir(), "engines"), platforms.secrets))}
	p.start(t)
	t.Cleanup(func() { p.kill(t) })
	_, err := kohorta(t, p.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml",
		strings.ReplaceAll(fmt.Sprintf(killedResources, platforms.url), "batch_rows: 100", "batch_rows: 20")))
	require.NoError(t, err)
	people := signUp(t, p)
	state := func(platform string) *audiencev1.Destination {
		r, err := p.client.audiences.GetDestination(t.Context(), &audiencev1.GetDestinationRequest{Name: "destinations/" + platform})
		require.NoError(t, err)
		return r.GetDestination()
	}
	begin := func(platform string) *audiencev1.Run {
		r, err := p.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/" + platform})
		require.NoError(t, err)
		return r.GetRun()
	}
	newest := func(platform string) *audiencev1.Run {
		r, err := p.client.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Subject: "audiences/" + platform, PageSize: 1})
		require.NoError(t, err)
		return r.GetRuns()[0]
	}
	ended := func(platform string, want audiencev1.Run_State) *audiencev1.Run {
		require.Eventually(t, func() bool { return newest(platform).GetState() == want }, patience, 20*time.Millisecond, "the newest sync of %s becomes %s", platform, want)
		return newest(platform)
	}

	begun := map[string]*audiencev1.Run{"meta": begin("meta"), "tiktok": begin("tiktok")}
	for platform, run := range begun {
		run = p.run(t, run, nil)
		counts := run.GetCounts()
		require.Positive(t, counts["additions.planned"])
		require.Equal(t, counts["additions.planned"], counts["additions.confirmed"], run)
		require.Zero(t, counts["additions.rejected"]+counts["additions.unknown"]+counts["additions.not_tried"], run)
		platforms.requireHeld(t, p, "audiences/"+platform, people)
		platforms.at(platform, func(d *door) {
			require.Equal(t, rotations, d.token)
			require.Equal(t, rotations, d.refused, "one request a rotation is repeated, once")
		})
		require.Equal(t, audiencev1.Destination_STATE_OK, state(platform).GetState())
	}

	leavers := &audiencev1.IngestEventsRequest{}
	for n := range 200 {
		user := visitor(n)
		delete(people, user)
		leavers.Events = append(leavers.Events, &audiencev1.Event{UserId: user, EventId: "leave", Type: "leave", Time: timestamppb.New(visited)})
	}
	_, err = p.client.ingest.IngestEvents(t.Context(), leavers)
	require.NoError(t, err)
	p.evaluate(t)
	for platform := range begun {
		platforms.at(platform, func(d *door) { d.revokeAt = d.requests + 3 })
		failed := begin(platform)
		run := ended(platform, audiencev1.Run_STATE_FAILED)
		require.Equal(t, failed.GetName(), run.GetName())
		waiting := state(platform)
		require.Equal(t, audiencev1.Destination_STATE_WAITING, waiting.GetState(), waiting)
		require.NotEmpty(t, waiting.GetRemedy())
		require.Contains(t, run.GetError(), waiting.GetRemedy())
		for n := range rotations + 2 {
			require.NotContains(t, waiting.String()+run.String(), tokenOf(platform, n))
		}
	}
	for platform := range begun {
		platforms.replace(platform, rotations+1)
		run := ended(platform, audiencev1.Run_STATE_SUCCEEDED)
		require.NotEmpty(t, run.GetResumes(), "it goes on by itself")
		platforms.requireHeld(t, p, "audiences/"+platform, people)
		require.Equal(t, audiencev1.Destination_STATE_OK, state(platform).GetState())
	}
}
