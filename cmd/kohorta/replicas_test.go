package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/lease"
	"github.com/kohorta/kohorta/internal/warehouse"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// patience bounds the waiting for what takes a few terms of a lease, on a machine that does much else.
const patience = 90 * time.Second

// slowNetwork are the platforms behind a network that can keep a request for a while before it delivers it.
type slowNetwork struct {
	*trapped
	mu      sync.Mutex
	keep    int // changing requests until one is kept; 0: none is
	kept    chan struct{}
	deliver chan struct{}
}

func newSlowNetwork(t *testing.T) *slowNetwork {
	t.Helper()
	n := &slowNetwork{trapped: &trapped{Server: sandbox.New(sandbox.Config{QuotasOff: true})}}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	n.url = server.URL
	return n
}

// keepBack keeps the nth request that changes members from now on, until deliver is called.
func (n *slowNetwork) keepBack(nth int) (kept <-chan struct{}, deliver func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keep, n.kept, n.deliver = nth, make(chan struct{}), make(chan struct{})
	return n.kept, sync.OnceFunc(func() { close(n.deliver) })
}

func (n *slowNetwork) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	keeps := false
	if n.keep > 0 && r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, "/users") {
		n.keep--
		keeps = n.keep == 0
	}
	kept, deliver := n.kept, n.deliver
	n.mu.Unlock()
	if keeps {
		body, _ := io.ReadAll(r.Body) // all of it has left its sender
		r.Body = io.NopCloser(bytes.NewReader(body))
		close(kept)
		<-deliver
	}
	n.Handler().ServeHTTP(w, r)
}

const replicatedResources = `
segments:
  - {id: signed-up, expression: 'did("signup", "all") && !did("leave", "all")'}
destinations:
  - {id: meta, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %q, batch_rows: 100, requests_per_second: 50}
audiences:
  - {id: meta, segment: segments/signed-up, destination: destinations/meta, max_removal_share: 1}
`

// TestPausedReplica: two replicas share a database. The one that writes and syncs is stopped in the middle of a request to
// the platform; the other takes over both, and removes people whom that request is about to add. The request arrives after
// all that, the stopped one wakes up, and the platform ends with exactly the members.
func TestPausedReplica(t *testing.T) {
	network := newSlowNetwork(t)
	config := sharedEngines(t)
	first, second := &process{config: config}, &process{config: config}
	first.start(t)
	t.Cleanup(func() { _ = first.cmd.Process.Kill() })
	_, err := kohorta(t, first.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", fmt.Sprintf(replicatedResources, network.url)))
	require.NoError(t, err)
	people := signUp(t, first)
	second.start(t)
	t.Cleanup(func() { second.kill(t) })
	standsBy(t, second)

	kept, deliver := network.keepBack(3)
	defer deliver()
	begun, err := first.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/meta"})
	require.NoError(t, err)
	waitFor(t, kept, "the third request")
	_, err = second.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/meta"})
	require.Equal(t, codes.Aborted, status.Code(err), "the audience is the other's: %v", err)
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGSTOP))

	leavers := &audiencev1.IngestEventsRequest{}
	for n := range 300 { // among them everybody of the request
		user := visitor(100 + n)
		delete(people, user)
		leavers.Events = append(leavers.Events, &audiencev1.Event{UserId: user, EventId: "leave", Type: "leave", Time: timestamppb.New(visited)})
	}
	require.Eventually(t, func() bool {
		_, err := second.client.ingest.IngestEvents(t.Context(), leavers)
		return err == nil
	}, patience, 100*time.Millisecond, "the second replica becomes the writer")
	second.evaluate(t)
	require.Eventually(t, func() bool {
		interrupted, err := second.client.runs.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: begun.GetRun().GetName()})
		return err == nil && interrupted.GetRun().GetState() == audiencev1.Run_STATE_INTERRUPTED
	}, patience, 100*time.Millisecond, "the sync of the stopped replica counts as interrupted")
	syncUntil(t, second, func() bool { return network.holds(t, second, people) })

	deliver()
	require.Eventually(t, func() bool { return !network.holds(t, second, people) }, patience, 10*time.Millisecond, "the late request adds people who have left")
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return network.holds(t, second, people) }, patience, 100*time.Millisecond, "which is made good without being asked")
	network.requireHeld(t, second, "audiences/meta", people)
	recovery := newestSync(t, second)
	require.Equal(t, audiencev1.Run_OCCASION_RECOVERY, recovery.GetOccasion(), recovery)
	require.NoError(t, first.client.conn.Close())
	require.Error(t, first.cmd.Wait(), "who was the writer ends, for it does not know what was written since")
}

// TestReplicaTakesOverWhatWasLeft: a replica that is killed in the middle of a sync is replaced by one that stands by, and one
// that ends in order is so at once.
func TestReplicaTakesOverWhatWasLeft(t *testing.T) {
	network := newSlowNetwork(t)
	config := sharedEngines(t)
	first, second, third := &process{config: config}, &process{config: config}, &process{config: config}
	first.start(t)
	_, err := kohorta(t, first.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", fmt.Sprintf(replicatedResources, network.url)))
	require.NoError(t, err)
	people := signUp(t, first)
	second.start(t)
	kept, deliver := network.keepBack(2)
	defer deliver()
	_, err = first.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/meta"})
	require.NoError(t, err)
	waitFor(t, kept, "the second request")
	first.kill(t)
	deliver()
	require.Eventually(t, func() bool { return network.holds(t, second, people) }, patience, 100*time.Millisecond, "the sync is gone on with")
	resumed := newestSync(t, second)
	require.NotEmpty(t, resumed.GetResumes())
	require.Equal(t, audiencev1.Run_OCCASION_REQUEST, resumed.GetOccasion())

	third.start(t)
	t.Cleanup(func() { third.kill(t) })
	standsBy(t, third)
	require.NoError(t, second.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, second.client.conn.Close())
	require.NoError(t, second.cmd.Wait())
	require.Eventually(t, func() bool {
		_, err := third.client.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{
			{UserId: visitor(0), EventId: "signup", Type: "signup", Time: timestamppb.New(visited)},
		}})
		return err == nil
	}, patience, 100*time.Millisecond)
	r, err := third.client.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{
		{UserId: visitor(1), EventId: "signup", Type: "signup", Time: timestamppb.New(visited)},
	}})
	require.NoError(t, err)
	require.EqualValues(t, 1, r.GetDuplicateCount(), "it knows what was written before")
}

// TestStopReachesTheSyncOfAnotherReplica: a stop overtakes a sync wherever that is under way.
func TestStopReachesTheSyncOfAnotherReplica(t *testing.T) {
	network := newSlowNetwork(t)
	config := sharedEngines(t)
	writer, syncing := &process{config: config}, &process{config: config}
	writer.start(t)
	t.Cleanup(func() { writer.kill(t) })
	_, err := kohorta(t, writer.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", fmt.Sprintf(replicatedResources, network.url)))
	require.NoError(t, err)
	people := signUp(t, writer)
	syncing.start(t)
	t.Cleanup(func() { syncing.kill(t) })
	standsBy(t, syncing)

	kept, deliver := network.keepBack(2)
	defer deliver()
	begun, err := syncing.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/meta"})
	require.NoError(t, err)
	waitFor(t, kept, "the second request")
	stopped := slices.Sorted(maps.Keys(people))[0] // held since the first request
	require.True(t, people[stopped].sendable())
	delete(people, stopped)
	_, err = kohorta(t, writer.client.conn.Target(), "user", "stop", stopped)
	require.NoError(t, err)
	time.Sleep(time.Second) // for a message between processes to arrive
	deliver()
	run, err := syncing.client.watch(t.Context(), io.Discard, begun.GetRun().GetName())
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_SUCCEEDED, run.GetState())
	require.True(t, network.holds(t, syncing, people), "who was stopped is removed within the sync")
}

// TestAGroupIsWithOneProcess: that nobody is in two audiences of an exclusive group is looked after within one process.
func TestAGroupIsWithOneProcess(t *testing.T) {
	store, err := warehouse.Open(t.Context(), warehouse.Config{DSN: enginetest.ClickHouse(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	process := func(name string) *audienceLeases {
		return &audienceLeases{Leases: lease.New(store, name, time.Minute, quiet()), groups: map[string]*groupLease{}}
	}
	one, other := process("one"), process("other")
	grouped := func(number audience.Number) audience.Audience {
		return audience.Audience{Meta: audience.Meta{Number: number}, ID: "a", ExclusiveGroup: "g"}
	}
	first, err := one.Take(t.Context(), grouped(1))
	require.NoError(t, err)
	_, err = other.Take(t.Context(), grouped(2))
	require.ErrorIs(t, err, audience.ErrConflict)
	alone, err := other.Take(t.Context(), audience.Audience{Meta: audience.Meta{Number: 3}, ID: "b"})
	require.NoError(t, err)
	defer alone.Release()
	second, err := one.Take(t.Context(), grouped(2))
	require.NoError(t, err)
	first.Release()
	_, err = other.Take(t.Context(), grouped(1))
	require.ErrorIs(t, err, audience.ErrConflict, "the group is still the one's")
	require.NoError(t, second.Check())
	second.Release()
	require.ErrorIs(t, second.Check(), audience.ErrFenced)
	taken, err := other.Take(t.Context(), grouped(1))
	require.NoError(t, err)
	require.Greater(t, taken.Version(), first.Version())
	taken.Release()
}

// sharedEngines is a configuration file for several services on one database. Its ClickHouse is of this test alone: where it is
// no Linux, it may not survive that a client is killed (chdb 26.7), and is started again then.
func sharedEngines(t *testing.T) (config string) {
	t.Helper()
	enginetest.ClickHouse(t) // skips where there is no engine
	redis, err := url.Parse(enginetest.Redis(t))
	require.NoError(t, err)
	password, _ := redis.User.Password()
	engines, err := engine.StartClickHouse(t.Context(), engine.Config{Dir: t.TempDir(), NoSync: true, Log: quiet()})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = engines.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		require.NoError(t, engines.Close())
	})
	return write(t, "kohorta.yaml", fmt.Sprintf("listen: 127.0.0.1:0\nsecrets_dir: %s\nnow: 2026-07-01T12:00:00Z\nlease_term: 3s\nclickhouse: {dsn: %q}\nredis: {addresses: [%q], password_file: %s}\n",
		secretsOfSandbox(t), engines.ClickHouse(), redis.Host, write(t, "password", password)))
}

// signUp has people sign up, and waits until they are members.
func signUp(t *testing.T, p *process) map[string]person {
	t.Helper()
	people := map[string]person{}
	profiles, events := &audiencev1.UpsertProfilesRequest{}, &audiencev1.IngestEventsRequest{}
	for i := range signedUp {
		someone := invent(audience.UserID(visitor(i)))
		people[visitor(i)] = someone
		profiles.Profiles = append(profiles.Profiles, someone.profile())
		events.Events = append(events.Events, &audiencev1.Event{UserId: visitor(i), EventId: "signup", Type: "signup", Time: timestamppb.New(visited)})
	}
	_, err := p.client.ingest.UpsertProfiles(t.Context(), profiles)
	require.NoError(t, err)
	_, err = p.client.ingest.IngestEvents(t.Context(), events)
	require.NoError(t, err)
	p.evaluate(t)
	return people
}

// standsBy holds what a replica answers while another is the writer.
func standsBy(t *testing.T, p *process) {
	t.Helper()
	_, err := p.client.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{
		{UserId: "x", EventId: "x", Type: "x", Time: timestamppb.New(visited)},
	}})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "send writes there")
	_, err = p.client.segments.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	_, err = p.client.segments.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/signed-up"})
	require.Error(t, err)
	require.Eventually(t, func() bool {
		r, err := p.client.memberships.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: visitor(1)})
		return err == nil && len(r.GetMembership().GetSegments()) == 1
	}, patience, 100*time.Millisecond, "it reads")
	_, err = p.client.audiences.PlanSync(t.Context(), &audiencev1.PlanSyncRequest{Name: "audiences/meta"})
	require.NoError(t, err)
}

// syncUntil syncs again and again until done.
func syncUntil(t *testing.T, p *process, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		r, err := p.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/meta"})
		if err != nil { // one is under way
			continue
		}
		_, err = p.client.watch(t.Context(), io.Discard, r.GetRun().GetName())
		require.NoError(t, err)
		if done() {
			return
		}
	}
	t.Fatal("no sync brings it about")
}

func newestSync(t *testing.T, p *process) *audiencev1.Run {
	t.Helper()
	r, err := p.client.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Kind: audiencev1.Run_KIND_SYNC, PageSize: 1})
	require.NoError(t, err)
	require.Len(t, r.GetRuns(), 1)
	return r.GetRuns()[0]
}

// holds reports whether the platform holds exactly the people who may be sent; asked in vain, it says no.
func (n *slowNetwork) holds(t *testing.T, p *process, people map[string]person) bool {
	t.Helper()
	r, err := p.client.audiences.GetAudience(t.Context(), &audiencev1.GetAudienceRequest{Name: "audiences/meta"})
	if err != nil {
		return false
	}
	held := (&story{platforms: n.Server}).held(r.GetAudience().GetPlatformId(), true)
	want := 0
	for _, someone := range people {
		if someone.sendable() {
			want++
			if !held[someone.metaRow()] {
				return false
			}
		}
	}
	return len(held) == want
}

func waitFor(t *testing.T, happens <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-happens:
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
}
