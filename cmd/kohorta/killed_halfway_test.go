package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// halfway is how often a test of this file kills the process.
func halfway() int {
	if os.Getenv("KOHORTA_SOAK") != "" {
		return 40
	}
	return 3
}

// killable starts a service with embedded engines in dir, and a source of moments at which to kill it.
func killable(t *testing.T, dir string) (*process, *rand.Rand) {
	t.Helper()
	enginetest.ClickHouse(t) // skips where there is no engine
	p := &process{config: write(t, "kohorta.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata_dir: %s\nsecrets_dir: %s\nengines: {no_sync: true}\n", dir, secretsOfSandbox(t)))}
	p.start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return p, rand.New(rand.NewPCG(seed, 1))
}

// killWithin kills the service, and starts it again, some time after a call has begun whose answer may never come.
func (p *process) killWithin(t *testing.T, random *rand.Rand, most time.Duration, call func(context.Context)) {
	t.Helper()
	var calling sync.WaitGroup
	calling.Go(func() { call(t.Context()) })
	time.Sleep(time.Duration(random.Int64N(int64(most)))) // a moment is what this is about
	p.kill(t)
	calling.Wait()
	p.start(t)
}

// TestErasureKilledHalfway: whenever the process is killed while a user is being erased, on platforms that take their time,
// the next one ends that by itself. No table names the user, no platform holds her, and everybody else stays.
func TestErasureKilledHalfway(t *testing.T) {
	const others = 5
	var slow atomic.Bool
	platforms := &awayPlatforms{Server: sandbox.New(sandbox.Config{QuotasOff: true})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			time.Sleep(150 * time.Millisecond)
		}
		platforms.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	dir := filepath.Join(t.TempDir(), "engines")
	p, random := killable(t, dir)
	running := true
	t.Cleanup(func() {
		if running {
			p.kill(t)
		}
	})

	names := make([]string, halfway()+others)
	profiles, events := &audiencev1.UpsertProfilesRequest{}, &audiencev1.IngestEventsRequest{}
	for i := range names {
		names[i] = visitor(i)
		someone := person{user: audience.UserID(names[i]), email: names[i] + "@example.com", consents: true}
		profiles.Profiles = append(profiles.Profiles, someone.profile())
		events.Events = append(events.Events, &audiencev1.Event{UserId: names[i], EventId: "1", Type: "purchase", Time: timestamppb.New(visited)})
	}
	_, err := p.client.ingest.UpsertProfiles(t.Context(), profiles)
	require.NoError(t, err)
	_, err = p.client.ingest.IngestEvents(t.Context(), events)
	require.NoError(t, err)
	_, err = kohorta(t, p.client.conn.Target(), "apply", "--yes", "-f", write(t, "r.yaml", fmt.Sprintf(bothPlatforms, server.URL)))
	require.NoError(t, err)
	p.evaluate(t)
	for _, name := range []string{"all-meta", "all-tiktok"} {
		r, err := p.client.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/" + name})
		p.run(t, r.GetRun(), err)
	}
	require.Equal(t, [2]int{len(names), len(names)}, holding(platforms))

	slow.Store(true)
	erased := names[:halfway()]
	for i, name := range erased {
		p.killWithin(t, random, 2500*time.Millisecond, func(ctx context.Context) {
			_, _ = p.client.privacy.EraseUser(ctx, &audiencev1.EraseUserRequest{UserId: name})
		})
		require.Eventually(t, func() bool {
			_, err := p.client.privacy.ReadmitUser(t.Context(), &audiencev1.ReadmitUserRequest{UserId: name})
			switch status.Code(err) {
			case codes.OK:
				return true
			case codes.NotFound: // the order was lost with its call: it is given again
				_, err = p.client.privacy.EraseUser(t.Context(), &audiencev1.EraseUserRequest{UserId: name})
				require.NoError(t, err)
			case codes.FailedPrecondition: // it is not done yet
			default:
				require.NoError(t, err)
			}
			return false
		}, patience, 100*time.Millisecond, "the erasure of %s, the %dth, does not end", name, i+1)
		require.Equal(t, [2]int{len(names) - i - 1, len(names) - i - 1}, holding(platforms))
	}
	for _, other := range names[len(erased):] {
		require.Eventually(t, func() bool { // Redis may not be whole yet
			r, err := p.client.memberships.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: other})
			return err == nil && slices.Equal(r.GetMembership().GetSegments(), []string{"segments/everybody"})
		}, patience, 100*time.Millisecond)
	}

	p.kill(t)
	running = false
	engines, err := engine.StartClickHouse(t.Context(), engine.Config{Dir: dir, NoSync: true, Log: quiet()})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = engines.Run(ctx) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
		require.NoError(t, engines.Close())
	})
	store, err := warehouse.Attach(t.Context(), warehouse.Config{DSN: engines.ClickHouse()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	rows := map[string]uint64{}
	for _, table := range tablesOfUsers(t, store) {
		require.NoError(t, store.Select(t.Context(), audience.Query{
			SQL: "SELECT count() FROM " + table + " WHERE has({users:Array(String)}, user_id)", Params: map[string]any{"users": erased},
		}, func(scan func(...any) error) error {
			var n uint64
			err := scan(&n)
			rows[table] = n
			return err
		}))
	}
	require.Greater(t, len(rows), 10)
	for table, n := range rows {
		require.Zero(t, n, "%s names who was erased", table)
	}
}

// holding is how many people each platform holds.
func holding(p *awayPlatforms) [2]int {
	meta, tiktok := p.held()
	return [2]int{meta, tiktok}
}

func tablesOfUsers(t *testing.T, store *warehouse.Store) (tables []string) {
	t.Helper()
	require.NoError(t, store.Select(t.Context(), audience.Query{
		SQL: "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() AND name = 'user_id'",
	}, func(scan func(...any) error) error {
		var table string
		err := scan(&table)
		tables = append(tables, table)
		return err
	}))
	return tables
}

// TestChangeKilledHalfway: whenever the process is killed while a segment's definition is changed, or changed back, one
// definition is in force afterwards for every reader, for the segment and for one that refers to it, and it becomes the one
// that the segment has, by itself. Evaluating everybody anew changes nobody then.
func TestChangeKilledHalfway(t *testing.T) {
	const users = 6000 // of whom the i-th came i%3 times
	p, random := killable(t, filepath.Join(t.TempDir(), "engines"))
	t.Cleanup(func() { p.kill(t) })
	var events []*audiencev1.Event
	for i := range users {
		for n := range i % 3 {
			events = append(events, &audiencev1.Event{UserId: visitor(i), EventId: fmt.Sprint(n), Type: "visit", Time: timestamppb.New(time.Now().Add(-time.Hour))})
		}
	}
	for batch := range slices.Chunk(events, 1000) {
		_, err := p.client.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: batch})
		require.NoError(t, err)
	}
	const isOld, isNew = 1, 2
	expressions := map[string]int{`count("visit", "30d") >= 2`: isOld, `count("visit", "30d") >= 1`: isNew}
	_, err := kohorta(t, p.client.conn.Target(), "apply", "--yes", "-f", write(t, "r.yaml", `
segments:
  - {id: often, expression: 'count("visit", "30d") >= 2'}
  - {id: seldom, expression: 'did("visit", "30d") && !in_segment("often")'}
`))
	require.NoError(t, err)
	p.evaluate(t)

	// inForce is by which definition each reader sees those who came once.
	inForce := func() (seen []int, err error) {
		r, err := p.client.memberships.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: onceCame(1000)})
		seen = append(seen, alike(r.GetMemberships(), func(m *audiencev1.Membership) int { return onceIn(m.GetSegments()) }))
		for _, list := range []struct {
			request *audiencev1.ListMembersRequest
			lengths map[int]int
		}{
			{&audiencev1.ListMembersRequest{Name: "segments/often"}, map[int]int{users / 3: isOld, 2 * users / 3: isNew}},
			{&audiencev1.ListMembersRequest{Name: "segments/seldom"}, map[int]int{users / 3: isOld, 0: isNew}},
		} {
			if err == nil {
				var definition int
				definition, err = listedBy(t.Context(), p.client, list.request, list.lengths)
				seen = append(seen, definition)
			}
		}
		return seen, err
	}
	for kill := range halfway() {
		p.killWithin(t, random, 800*time.Millisecond, func(ctx context.Context) {
			if kill%3 == 2 {
				_, _ = p.client.segments.RollbackSegment(ctx, &audiencev1.RollbackSegmentRequest{Name: "segments/often", Version: 1})
				return
			}
			expression := []string{`count("visit", "30d") >= 1`, `count("visit", "30d") >= 2`}[kill%2]
			_, _ = p.client.segments.UpdateSegment(ctx, &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/often", Expression: expression}})
		})
		var seen []int
		require.Eventually(t, func() bool {
			var err error
			seen, err = inForce()
			if err != nil {
				return false // Redis is being made whole, or the definition changes under a list
			}
			require.NotContains(t, seen, 0, "kill %d: a reader sees a mixture", kill+1)
			r, err := p.client.segments.GetSegment(t.Context(), &audiencev1.GetSegmentRequest{Name: "segments/often"})
			require.NoError(t, err)
			want := expressions[r.GetSegment().GetExpression()]
			return !slices.ContainsFunc(seen, func(definition int) bool { return definition != want })
		}, patience, 20*time.Millisecond, "kill %d: the segment's definition is in force for every reader", kill+1)
		for evaluated := false; !evaluated; { // one may be under way
			r, err := p.client.segments.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
			if evaluated = err == nil; evaluated {
				require.Zero(t, p.run(t, r.GetRun(), nil).GetCounts()["changed"], "kill %d", kill+1)
			} else {
				require.Equal(t, codes.Aborted, status.Code(err), "%v", err)
				time.Sleep(20 * time.Millisecond)
			}
		}
		after, err := inForce()
		require.NoError(t, err)
		require.Equal(t, seen, after)
	}
}
