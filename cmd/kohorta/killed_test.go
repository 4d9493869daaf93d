package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// The whole job by a real process that is killed in the middle of everything. Visitors fill two batches of an evaluation;
// the first of them have signed up and are synced.
const (
	visitors = 55_000
	signedUp = 700
)

var visited = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const killedResources = `
segments:
  - {id: once, expression: 'count("visit", "all") == 1'}
  - {id: turning, expression: '!did("signup", "all")'}
  - {id: signed-up, expression: 'did("signup", "all") && !did("leave", "all")'}
destinations:
  - {id: meta, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %[1]q, batch_rows: 100, requests_per_second: 50}
  - {id: tiktok, platform: tiktok, account: "7000000000000000001", token_secret: tiktok-token, base_url: %[1]q, batch_rows: 100, requests_per_second: 50}
audiences:
  - {id: meta, segment: segments/signed-up, destination: destinations/meta, max_removal_share: 1}
  - {id: tiktok, segment: segments/signed-up, destination: destinations/tiktok, max_removal_share: 1}
`

// process is the service as a process of its own.
type process struct {
	config string
	cmd    *exec.Cmd
	client *client
}

// start starts it and waits until it serves.
func (p *process) start(t *testing.T) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	p.cmd = exec.Command(executable, "serve", "--config", p.config)
	p.cmd.Env = append(os.Environ(), asKohorta+"=1")
	log, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	var said strings.Builder
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if at := regexp.MustCompile(`msg=serving address=(\S+)`).FindStringSubmatch(lines.Text()); at != nil {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			p.client, err = dial(at[1])
			require.NoError(t, err)
			return
		}
	}
	t.Fatalf("the service did not start: %v\n%s", p.cmd.Wait(), said.String())
}

// kill ends it as a power cut would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	require.Error(t, p.cmd.Wait(), "killed")
	require.NoError(t, p.client.conn.Close())
}

// run follows a run to its end.
func (p *process) run(t *testing.T, run *audiencev1.Run, err error) *audiencev1.Run {
	t.Helper()
	require.NoError(t, err)
	run, err = p.client.watch(t.Context(), io.Discard, run.GetName())
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_SUCCEEDED, run.GetState(), "%v", run)
	return run
}

// evaluate evaluates everybody anew.
func (p *process) evaluate(t *testing.T) *audiencev1.Run {
	t.Helper()
	r, err := p.client.segments.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
	return p.run(t, r.GetRun(), err)
}

func TestKilledAnywhere(t *testing.T) {
	enginetest.ClickHouse(t) // skips where there is no engine
	platforms := trappedPlatforms(t)
	dir := t.TempDir()
	p := &process{config: write(t, "kohorta.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata_dir: %s\nsecrets_dir: %s\nnow: 2026-07-01T12:00:00Z\nengines: {no_sync: true}\n",
		filepath.Join(dir, "engines"), secretsOfSandbox(t)))}
	p.start(t)
	t.Cleanup(func() { p.kill(t) })
	_, err := kohorta(t, p.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", fmt.Sprintf(killedResources, platforms.url)))
	require.NoError(t, err)

	killImport(t, p)
	killEvaluations(t, p)
	killSyncs(t, p, platforms)
}

// killImport kills the service while a stream of events is being acknowledged. What was acknowledged is there, and the
// whole sent once more counts once.
func killImport(t *testing.T, p *process) {
	events := make([]*audiencev1.Event, 0, visitors+signedUp)
	for i := range visitors {
		events = append(events, &audiencev1.Event{UserId: visitor(i), EventId: "visit", Type: "visit", Time: timestamppb.New(visited)})
	}
	for i := range signedUp {
		events = append(events, &audiencev1.Event{UserId: visitor(i), EventId: "signup", Type: "signup", Time: timestamppb.New(visited)})
	}
	send := func(events []*audiencev1.Event, heard func(*audiencev1.StreamEventsResponse)) (sum imported, acknowledged int64) {
		stream, err := p.client.ingest.StreamEvents(t.Context())
		require.NoError(t, err)
		go func() {
			for batch := range slices.Chunk(events, 500) {
				if stream.Send(&audiencev1.StreamEventsRequest{Events: batch}) != nil {
					return // Recv says why
				}
			}
			_ = stream.CloseSend()
		}()
		for {
			r, err := stream.Recv()
			if err != nil {
				return sum, acknowledged
			}
			acknowledged = r.GetAcknowledgedRows()
			sum.Accepted += int64(r.GetAcceptedCount())
			sum.Duplicates += int64(r.GetDuplicateCount())
			heard(r)
		}
	}

	acknowledgements := 0
	_, acknowledged := send(events, func(*audiencev1.StreamEventsResponse) {
		if acknowledgements++; acknowledgements == 20 {
			require.NoError(t, p.cmd.Process.Kill())
		}
	})
	p.kill(t)
	require.Positive(t, acknowledged)
	require.Less(t, acknowledged, int64(len(events)), "it was killed in the middle")
	p.start(t)

	nothing := func(*audiencev1.StreamEventsResponse) {}
	again, _ := send(events[:acknowledged], nothing)
	require.Equal(t, imported{Duplicates: acknowledged}, again, "what was acknowledged is there")
	rest, _ := send(events, nothing)
	require.EqualValues(t, len(events), rest.Accepted+rest.Duplicates)
	third, _ := send(events, nothing)
	require.Equal(t, imported{Duplicates: int64(len(events))}, third)

	p.evaluate(t)
	requireMembers(t, p, map[string]int{"segments/once": visitors, "segments/turning": visitors - signedUp, "segments/signed-up": signedUp})
}

// killEvaluations kills evaluations that move every visitor into a segment or out of it, at several moments.
func killEvaluations(t *testing.T, p *process) {
	want := map[string]int{"segments/once": visitors, "segments/signed-up": signedUp}
	for i, moment := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 250 * time.Millisecond} {
		expression := []string{`!did("visit", "all")`, `did("visit", "all")`}[i%2]
		_, err := p.client.segments.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{
			Segment: &audiencev1.Segment{Name: "segments/turning", Expression: expression}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"expression"}},
		})
		require.NoError(t, err)
		_, _ = p.client.segments.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{}) // unless one is under way already
		time.Sleep(moment)                                                                            // a moment is what this is about
		p.kill(t)
		p.start(t)
		p.evaluate(t)
		want["segments/turning"] = visitors * (i % 2)
		requireMembers(t, p, want)
	}
	require.Zero(t, p.evaluate(t).GetCounts()["changed"], "one more finds nothing to change")
}

// requireMembers compares what ClickHouse lists of some segments with their sizes, and with what Redis answers for each
// visitor, which may take the time it needs to catch up.
func requireMembers(t *testing.T, p *process, want map[string]int) {
	t.Helper()
	listed := map[string][]string{} // by visitor
	for _, name := range slices.Sorted(maps.Keys(want)) {
		users := members(t, p, name)
		require.Len(t, users, want[name], name)
		for _, user := range users {
			listed[user] = append(listed[user], name)
		}
	}
	all := make([]string, visitors)
	for i := range all {
		all[i] = visitor(i)
	}
	agree := func() error {
		for batch := range slices.Chunk(all, 1000) {
			r, err := p.client.memberships.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: batch})
			if err != nil {
				return err
			}
			for i, m := range r.GetMemberships() {
				slices.Sort(m.Segments)
				slices.Sort(listed[batch[i]])
				if !slices.Equal(m.GetSegments(), listed[batch[i]]) {
					return fmt.Errorf("%s is in %v by Redis, in %v by ClickHouse", batch[i], m.GetSegments(), listed[batch[i]])
				}
			}
		}
		return nil
	}
	err := agree()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); err = agree() {
		time.Sleep(50 * time.Millisecond)
	}
	require.NoError(t, err, "Redis has not caught up with ClickHouse")
}

func members(t *testing.T, p *process, segment string) []string {
	t.Helper()
	users, err := (&story{client: p.client}).members(t.Context(), segment)
	require.NoError(t, err)
	return users
}

func visitor(i int) string { return fmt.Sprintf("visitor-%05d", i) }

// killSyncs kills the service while it creates an audience, adds to it and removes from it, the platform having done what
// it was asked for or not. The sync after that makes the platform hold the target, in the one audience there is.
func killSyncs(t *testing.T, p *process, platforms *trapped) {
	people := map[string]person{}
	request := &audiencev1.UpsertProfilesRequest{}
	for i := range signedUp {
		someone := invent(audience.UserID(visitor(i)))
		people[visitor(i)] = someone
		request.Profiles = append(request.Profiles, someone.profile())
	}
	_, err := p.client.ingest.UpsertProfiles(t.Context(), request)
	require.NoError(t, err)

	for i, platform := range []struct{ name, create, members string }{
		{"meta", "/customaudiences", "/users"},
		{"tiktok", "/segment/audience/", "/segment/mapping/"},
	} {
		name := "audiences/" + platform.name
		killAt := func(path string, nth int, done bool) {
			met := platforms.trap(path, nth, done, func() { _ = p.cmd.Process.Kill() })
			r, err := p.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: name})
			require.NoError(t, err)
			run, err := p.client.watch(t.Context(), io.Discard, r.GetRun().GetName())
			select {
			case <-met:
			default:
				t.Fatalf("the run ended without request %d to %s: %v %v", nth, path, run, err)
			}
			p.kill(t)
			p.start(t)
		}
		sync := func() {
			r, err := p.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: name})
			p.run(t, r.GetRun(), err)
			platforms.requireHeld(t, p, name, people)
		}

		killAt(platform.create, 1, true)
		killAt(platform.members, 2, true)
		killAt(platform.members, 2, false)
		sync()

		leavers := &audiencev1.IngestEventsRequest{}
		for n := range 150 {
			user := visitor(150*i + n)
			delete(people, user)
			leavers.Events = append(leavers.Events, &audiencev1.Event{UserId: user, EventId: "leave", Type: "leave", Time: timestamppb.New(visited)})
		}
		_, err := p.client.ingest.IngestEvents(t.Context(), leavers)
		require.NoError(t, err)
		p.evaluate(t)
		killAt(platform.members, 1, true)
		sync()
	}
}

// trapped are the platforms with a trap: a request at which something happens, and which is never answered.
type trapped struct {
	*sandbox.Server
	url string

	mu   sync.Mutex
	path string
	left int // requests to the path until the trap is met; 0: no trap is set
	done bool
	meet func()
}

func trappedPlatforms(t *testing.T) *trapped {
	t.Helper()
	platforms := &trapped{Server: sandbox.New(sandbox.Config{QuotasOff: true})}
	server := httptest.NewServer(platforms)
	t.Cleanup(server.Close)
	platforms.url = server.URL
	return platforms
}

// trap calls meet at the nth changing request to the path from now on, after carrying it out when done says so.
func (p *trapped) trap(path string, nth int, done bool, meet func()) (met chan struct{}) {
	met = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path, p.left, p.done, p.meet = path, nth, done, func() { close(met); meet() } // whoever hears of the kill finds it met
	return met
}

func (p *trapped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	var meet func()
	if p.left > 0 && r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, p.path) {
		if p.left--; p.left == 0 {
			meet = p.meet
		}
	}
	done := p.done
	p.mu.Unlock()
	if meet == nil {
		p.Handler().ServeHTTP(w, r)
		return
	}
	if done {
		p.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	meet()
	panic(http.ErrAbortHandler)
}

// requireHeld compares what a platform truly holds with the people who may be sent, and that in one audience.
func (p *trapped) requireHeld(t *testing.T, service *process, name string, people map[string]person) {
	t.Helper()
	onMeta := name == "audiences/meta"
	want := map[string]bool{}
	for _, someone := range people {
		switch {
		case !someone.sendable():
		case onMeta:
			want[someone.metaRow()] = true
		default:
			for _, id := range someone.tiktokIDs() {
				want[id] = true
			}
		}
	}
	r, err := service.client.audiences.GetAudience(t.Context(), &audiencev1.GetAudienceRequest{Name: name})
	require.NoError(t, err)
	held := (&story{platforms: p.Server}).held(r.GetAudience().GetPlatformId(), onMeta)
	require.Len(t, held, len(want))
	require.Equal(t, want, held)
	if onMeta {
		require.Len(t, p.Meta().Audiences(), 1)
	} else {
		require.Len(t, p.TikTok().Audiences(), 1)
	}
}
