package segmenter_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/segmenter"
)

// fleeting is a projection that is away on demand, or goes away after some applies.
type fleeting struct {
	segmenter.Projection
	away  atomic.Bool
	after atomic.Int64 // applies that still succeed; negative: any number
}

var errAway = &audience.UnavailableError{What: "redis", RetryAfter: time.Second}

func (f *fleeting) Apply(ctx context.Context, changes []audience.Change) error {
	if f.away.Load() || f.after.Add(-1) == -1 {
		f.away.Store(true)
		return errAway
	}
	return f.Projection.Apply(ctx, changes)
}

func (f *fleeting) Version(ctx context.Context) (uint64, error) {
	if f.away.Load() {
		return 0, errAway
	}
	return f.Projection.Version(ctx)
}

// following is a house whose Redis can be wiped and can be away.
type following struct {
	house
	projection *fleeting
	redis      *redis.Client
}

// newFollowing has a visitor for each of n and a segment of those who visited within the week before noon, in step. Its
// segmenter is not running: tests call what they test.
func newFollowing(t *testing.T, n int) *following {
	t.Helper()
	address := enginetest.Redis(t)
	options, err := redis.ParseURL(address)
	require.NoError(t, err)
	f := &following{house: newHouse(t), redis: redis.NewClient(options)}
	t.Cleanup(func() { require.NoError(t, f.redis.Close()) })
	f.live = openLive(t, address)
	f.projection = &fleeting{Projection: f.live}
	f.projection.after.Store(-1)
	deps := f.Deps
	deps.Projection, deps.Now = f.projection, func() time.Time { return noon }
	f.Segmenter = segmenter.New(deps)

	for id, expression := range map[audience.SegmentID]string{"lately": `did("visit", "7d")`, "twice": `count("visit", "all") >= 2`} {
		_, err := f.store.Segments().Create(t.Context(), audience.Segment{ID: id, Expression: expression})
		require.NoError(t, err)
	}
	require.NoError(t, f.Rebuild(t.Context()))
	f.evaluate(t, nil, noon) // the segments are in force
	events := make([]audience.Event, n)
	for i := range events {
		events[i] = visit(fmt.Sprintf("user-%06d", i), "1", noon.Add(-time.Hour))
	}
	_, err = f.store.WriteEvents(t.Context(), events)
	require.NoError(t, err)
	return f
}

func (f *following) evaluate(t *testing.T, users []audience.UserID, at time.Time) segmenter.Evaluation {
	t.Helper()
	evaluation, err := f.Evaluate(t.Context(), users, at, "test", quiet)
	require.NoError(t, err)
	return evaluation
}

// run runs the segmenter until t ends.
func (f *following) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// requireInStep compares what Redis answers for everybody with the members in ClickHouse.
func (f *following) requireInStep(t *testing.T, users int) {
	t.Helper()
	all := make([]audience.UserID, users)
	for i := range all {
		all[i] = audience.UserID(fmt.Sprintf("user-%06d", i))
	}
	agree := func() error {
		members := map[audience.UserID][]audience.Number{}
		for m, err := range f.store.Members(t.Context()) {
			if err != nil {
				return err
			}
			members[m.User] = m.Segments
		}
		answers, err := f.live.Batch(t.Context(), all)
		if err != nil {
			return err
		}
		for _, m := range answers {
			if fmt.Sprint(m.Segments) != fmt.Sprint(members[m.User]) {
				return fmt.Errorf("%s is in %v by Redis, in %v by ClickHouse", m.User, m.Segments, members[m.User])
			}
		}
		return nil
	}
	err := agree()
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); err = agree() {
		time.Sleep(20 * time.Millisecond)
	}
	require.NoError(t, err)
}

func TestEvaluateEverybodyAndSome(t *testing.T) {
	f := newFollowing(t, 10)
	f.evaluate(t, nil, noon)
	f.requireInStep(t, 10)

	_, err := f.store.WriteEvents(t.Context(), []audience.Event{visit("user-000003", "2", noon), visit("user-000007", "2", noon)})
	require.NoError(t, err)
	some := f.evaluate(t, []audience.UserID{"user-000003", "user-000004"}, noon)
	require.Equal(t, map[audience.SegmentID]int64{"twice": 1}, some.Entered, "user 7 was not asked for, user 4 has not changed")
	require.Equal(t, map[string]int64{"changed": 1, "entered/twice": 1}, some.Summary())
	rest := f.evaluate(t, nil, noon)
	require.Equal(t, map[string]int64{"changed": 1, "entered/twice": 1}, rest.Summary(), "user 7")
	require.Zero(t, f.evaluate(t, nil, noon).Changed, "once more changes nothing")
	require.Zero(t, f.evaluate(t, []audience.UserID{"nobody"}, noon).Changed)

	left := f.evaluate(t, nil, noon.AddDate(0, 0, 8))
	require.Equal(t, map[string]int64{"changed": 10, "left/lately": 10}, left.Summary())
	f.requireInStep(t, 10)
	versions := []uint64{}
	for change, err := range f.store.ChangesAfter(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "test", change.Cause)
		versions = append(versions, change.Version)
	}
	require.IsNonDecreasing(t, versions)
	require.Equal(t, left.Version, versions[len(versions)-1])
	require.Len(t, versions, 10+1+1+10)
}

func TestWipedRedisRefusesThenIsRebuilt(t *testing.T) {
	f := newFollowing(t, 100)
	f.run(t)
	require.NoError(t, f.Wait(t.Context(), f.Touch(nil, "test")))
	before, err := f.live.Get(t.Context(), "user-000001")
	require.NoError(t, err)
	require.NotEmpty(t, before.Segments)

	require.NoError(t, f.redis.FlushAll(t.Context()).Err())
	refused := 0
	for deadline := time.Now().Add(time.Minute); ; {
		m, err := f.live.Get(t.Context(), "user-000001")
		if err == nil {
			require.Equal(t, before.Segments, m.Segments, "a wiped Redis never says that somebody is no member")
			break
		}
		require.ErrorIs(t, err, audience.ErrUnavailable)
		require.True(t, time.Now().Before(deadline), "not rebuilt")
		refused++
	}
	require.Positive(t, refused)
	f.requireInStep(t, 100)
}

// TestEvaluationsGoOnWithoutRedis: what changes while it is away is in the log, and in Redis once it is back.
func TestEvaluationsGoOnWithoutRedis(t *testing.T) {
	f := newFollowing(t, 100)
	f.run(t)
	require.NoError(t, f.Wait(t.Context(), f.Touch(nil, "test")))
	f.projection.away.Store(true)
	_, err := f.store.WriteEvents(t.Context(), []audience.Event{visit("user-000003", "2", noon)})
	require.NoError(t, err)
	require.EqualValues(t, 1, f.evaluate(t, []audience.UserID{"user-000003"}, noon).Changed)
	require.EqualValues(t, 100, f.evaluate(t, nil, noon.AddDate(0, 0, 8)).Changed)
	f.projection.away.Store(false)
	f.requireInStep(t, 100)
}

// TestAMoveWithoutRedisTakesEffectLater: its caller is told that it is stored.
func TestAMoveWithoutRedisTakesEffectLater(t *testing.T) {
	f := newFollowing(t, 10)
	f.run(t)
	require.NoError(t, f.Wait(t.Context(), f.Touch(nil, "test")))
	f.projection.away.Store(true)
	_, err := f.MoveUser(t.Context(), audience.Move{User: "user-000003", OutOf: []audience.SegmentID{"lately"}})
	require.ErrorIs(t, err, audience.ErrUnavailable)
	require.ErrorContains(t, err, "the move is stored and takes effect by itself")
	f.projection.away.Store(false)
	require.Eventually(t, func() bool {
		m, err := f.live.Get(t.Context(), "user-000003")
		return err == nil && len(m.Segments) == 0
	}, time.Minute, 10*time.Millisecond)
}

// TestAVersionHalfAppliedIsReplayed loses Redis between the two batches of an evaluation of many users, and the process
// with it: the next one begins at the version that Redis says it has, and that is not whole.
func TestAVersionHalfAppliedIsReplayed(t *testing.T) {
	const users = 60_000
	f := newFollowing(t, users)
	f.projection.after.Store(1)
	require.EqualValues(t, users, f.evaluate(t, nil, noon).Changed)
	require.True(t, f.projection.away.Load(), "away after the first batch")
	require.EqualValues(t, users, f.count(t, "SELECT count() FROM membership_changes"), "the log has all")

	f.projection.away.Store(false)
	f.projection.after.Store(-1)
	f.Segmenter = segmenter.New(f.Deps)
	f.run(t)
	f.requireInStep(t, users)
	require.Zero(t, f.evaluate(t, nil, noon).Changed)
}
