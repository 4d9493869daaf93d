package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

const (
	soakUsers   = 200
	soakWorkers = 4
)

const soakResources = `
segments:
  - {id: any, expression: 'did("visit", "all")'}
  - {id: some, expression: 'count("visit", "all") >= 5'}
  - {id: many, expression: 'count("visit", "all") >= 20 && in_segment("some")'}
  - {id: called, expression: 'false'}
`

// soak is a service under load, and the truth about what it has acknowledged.
type soak struct {
	process
	mu     sync.Mutex
	visits [soakUsers]int
	called [soakUsers]bool
	moving [soakUsers]sync.Mutex // moves of one user follow one another, so that it is known which is the last
}

// TestSoakKilled kills the process, ClickHouse and Redis in turn, at random moments, under a load of events and moves.
// After each recovery Redis answers as ClickHouse lists, both are as everything acknowledged says, and evaluating
// everybody anew changes nobody. Five kills, fifty with KOHORTA_SOAK.
func TestSoakKilled(t *testing.T) {
	enginetest.ClickHouse(t) // skips where there is no engine
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("the engines' processes are found in /proc")
	}
	kills := 5
	if os.Getenv("KOHORTA_SOAK") != "" {
		kills = 50
	}
	s := &soak{}
	s.config = write(t, "kohorta.yaml", fmt.Sprintf("listen: %s\ndata_dir: %s\nengines: {no_sync: true}\n", freeAddress(t), filepath.Join(t.TempDir(), "engines")))
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	_, err := kohorta(t, s.client.conn.Target(), "apply", "--yes", "-f", write(t, "resources.yaml", soakResources))
	require.NoError(t, err)
	_, err = s.evaluateAll(t)
	require.NoError(t, err)

	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for kill := range kills {
		stop := s.load(t)
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond) // a moment is what this is about
		victim := []string{"the process", "ClickHouse", "Redis"}[kill%3]
		switch victim {
		case "the process":
			require.NoError(t, s.cmd.Process.Kill())
			require.Error(t, s.cmd.Wait(), "killed")
			again := process{config: s.config}
			again.start(t)
			require.NoError(t, again.client.conn.Close()) // the workers keep theirs, which finds the way back
			s.cmd = again.cmd
		default:
			s.killEngine(t, strings.ToLower(victim))
		}
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		stop()
		s.requireWhole(t, fmt.Sprintf("kill %d: %s", kill+1, victim))
	}
}

// freeAddress is where the service can listen again after it was killed.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := engine.FreePort()
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// killEngine kills the child of the service whose command line names the engine.
func (s *soak) killEngine(t *testing.T, engine string) {
	t.Helper()
	pid := s.cmd.Process.Pid
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err != nil || !strings.Contains(strings.SplitN(string(line), "\x00", 2)[0], engine) {
				continue
			}
			id, err := strconv.Atoi(child)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(id, syscall.SIGKILL))
			return
		}
	}
	t.Fatalf("the service has no child %s", engine)
}

// load sends events and moves until stop is called, which returns once everything sent was acknowledged.
func (s *soak) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range soakWorkers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(rand.Uint64(), 2))
			for ctx.Err() == nil {
				if random.IntN(4) == 0 {
					s.move(t, random.IntN(soakUsers), random.IntN(2) == 0)
				} else {
					s.visit(t, random)
				}
			}
		})
	}
	return func() {
		cancel()
		working.Wait()
	}
}

// visit sends some visits until they are acknowledged.
func (s *soak) visit(t *testing.T, random *rand.Rand) {
	request := &audiencev1.IngestEventsRequest{}
	var users []int
	for range 1 + random.IntN(10) {
		user := random.IntN(soakUsers)
		users = append(users, user)
		request.Events = append(request.Events, &audiencev1.Event{
			UserId: visitor(user), EventId: strconv.FormatUint(random.Uint64(), 36), Type: "visit", Time: timestamppb.New(time.Now().Add(-time.Minute)),
		})
	}
	s.untilAcknowledged(t, func(ctx context.Context) error {
		_, err := s.client.ingest.IngestEvents(ctx, request)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range users {
		s.visits[user]++
	}
}

// move puts a user into a segment or out of it until that is acknowledged, and reads her at once.
func (s *soak) move(t *testing.T, user int, into bool) {
	s.moving[user].Lock()
	defer s.moving[user].Unlock()
	request := &audiencev1.MoveUserRequest{UserId: visitor(user), RequestId: uuid.NewString()}
	if into {
		request.Into = []string{"segments/called"}
	} else {
		request.OutOf = []string{"segments/called"}
	}
	s.untilAcknowledged(t, func(ctx context.Context) error {
		_, err := s.client.memberships.MoveUser(ctx, request)
		return err
	})
	s.mu.Lock()
	s.called[user] = into
	s.mu.Unlock()
	s.untilAcknowledged(t, func(ctx context.Context) error {
		r, err := s.client.memberships.GetMembership(ctx, &audiencev1.GetMembershipRequest{UserId: visitor(user)})
		if err == nil && slices.Contains(r.GetMembership().GetSegments(), "segments/called") != into {
			t.Errorf("a move into %v was acknowledged, and the membership is %v", into, r.GetMembership().GetSegments())
		}
		return err
	})
}

// untilAcknowledged repeats a call while something is away.
func (s *soak) untilAcknowledged(t *testing.T, call func(context.Context) error) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := call(ctx)
		cancel()
		switch code := status.Code(err); {
		case err == nil, t.Context().Err() != nil:
			return
		case time.Now().After(deadline), code != codes.Unavailable && code != codes.DeadlineExceeded && code != codes.Canceled:
			t.Errorf("not acknowledged: %v", err)
			return
		}
	}
}

// want is which segments a user is in, by what was acknowledged.
func (s *soak) want(user int) (names []string) {
	for name, in := range map[string]bool{
		"segments/any": s.visits[user] >= 1, "segments/some": s.visits[user] >= 5, "segments/many": s.visits[user] >= 20, "segments/called": s.called[user],
	} {
		if in {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// requireWhole compares Redis, ClickHouse, a full evaluation and the truth.
func (s *soak) requireWhole(t *testing.T, when string) {
	t.Helper()
	ids := make([]string, soakUsers)
	wanted := map[string][]string{}
	visits := 0
	for user := range ids {
		ids[user] = visitor(user)
		visits += s.visits[user]
		for _, name := range s.want(user) {
			wanted[name] = append(wanted[name], ids[user])
		}
	}
	differs := func() string {
		r, err := s.client.memberships.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: ids})
		if err != nil {
			return err.Error()
		}
		for user, m := range r.GetMemberships() {
			if got := slices.Sorted(slices.Values(m.GetSegments())); !slices.Equal(got, s.want(user)) {
				return fmt.Sprintf("%s made %d visits, is in %v and should be in %v", ids[user], s.visits[user], got, s.want(user))
			}
		}
		return ""
	}
	began := time.Now()
	require.Eventually(t, func() bool { return differs() == "" }, time.Minute, 50*time.Millisecond, "%s: %s", when, differs())
	recovered := time.Since(began)
	for _, name := range []string{"segments/any", "segments/some", "segments/many", "segments/called"} {
		require.Equal(t, wanted[name], members(t, &s.process, name), "%s: %s in ClickHouse", when, name)
	}
	changed, err := s.evaluateAll(t)
	require.NoError(t, err, when)
	require.Zero(t, changed, "%s: evaluating everybody anew changes nobody", when)
	require.Empty(t, differs(), when)
	t.Logf("%s: whole %s after the load, %d visits", when, recovered.Round(time.Millisecond), visits)
}

// evaluateAll evaluates everybody and says how many that has changed.
func (s *soak) evaluateAll(t *testing.T) (changed int64, err error) {
	t.Helper()
	r, err := s.client.segments.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
	if err != nil {
		return 0, err
	}
	run, err := s.client.watch(t.Context(), io.Discard, r.GetRun().GetName())
	if err == nil && run.GetState() != audiencev1.Run_STATE_SUCCEEDED {
		err = fmt.Errorf("the evaluation ended: %v", run)
	}
	return run.GetCounts()["changed"], err
}
