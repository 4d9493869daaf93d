package segmenter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
)

// settableClock is the service's clock in tests.
type settableClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *settableClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *settableClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// liveHouse is a house whose segmenter runs, and can be ended and started again.
type liveHouse struct {
	house
	clock *settableClock
	stop  func()
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newLiveHouse has the segments s1, s2, … of the expressions and starts at noon.
func newLiveHouse(t testing.TB, segments ...audience.Segment) *liveHouse {
	t.Helper()
	h := &liveHouse{house: newHouse(t), clock: &settableClock{now: noon}}
	for i, segment := range segments {
		if segment.ID == "" {
			segment.ID = audience.SegmentID(fmt.Sprintf("s%d", i+1))
		}
		_, err := h.store.Segments().Create(t.Context(), segment)
		require.NoError(t, err)
	}
	h.start(t)
	t.Cleanup(func() { h.stop() })
	return h
}

// start runs a new segmenter, as a new process would.
func (h *liveHouse) start(t testing.TB) {
	t.Helper()
	deps := h.Deps
	deps.Now = h.clock.Now
	h.Segmenter = segmenter.New(deps)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// ingest writes events as the service does.
func (h *liveHouse) ingest(t testing.TB, events ...audience.Event) (token string) {
	t.Helper()
	_, err := h.store.WriteEvents(t.Context(), events)
	require.NoError(t, err)
	var users []audience.UserID
	for _, e := range events {
		users = append(users, e.User)
	}
	return h.Touch(users, segmenter.CauseEvent)
}

// settle waits until everything touched and due is in the projection.
func (h *liveHouse) settle(t testing.TB) {
	t.Helper()
	require.NoError(t, h.Wait(t.Context(), h.Touch(nil, segmenter.CauseEvent)))
}

// segmentsOf reads a user's segments where callers read them, and gives their own numbers, whatever their versions are.
func (h *liveHouse) segmentsOf(t testing.TB, user audience.UserID) (own []audience.Number) {
	t.Helper()
	membership, err := h.live.Get(t.Context(), user)
	for asked := time.Now(); errors.Is(err, audience.ErrUnavailable) && time.Since(asked) < time.Minute; { // on a machine under load
		membership, err = h.live.Get(t.Context(), user)
	}
	require.NoError(t, err)
	return h.own(t, membership.Segments)
}

// own are the segments' own numbers of what a membership holds.
func (h house) own(t testing.TB, held []audience.Number) (own []audience.Number) {
	t.Helper()
	edition, err := h.Edition(t.Context())
	require.NoError(t, err)
	for _, id := range edition.IDs(held) {
		definition, _ := edition.Find(id)
		own = append(own, definition.Segment)
	}
	slices.Sort(own)
	return own
}

func visit(user, id string, at time.Time) audience.Event {
	return audience.Event{User: audience.UserID(user), ID: id, Type: "visit", Time: at}
}

func TestLiveFollowsEvents(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `count("visit", "7d") >= 2`}, audience.Segment{Expression: `!did("visit", "7d")`})
	require.NoError(t, h.Wait(t.Context(), h.ingest(t, visit("a", "1", noon))))
	require.Empty(t, h.segmentsOf(t, "a"))
	require.NoError(t, h.Wait(t.Context(), h.ingest(t, visit("a", "2", noon), visit("b", "1", noon.Add(-8*24*time.Hour)))))
	require.Equal(t, []audience.Number{1}, h.segmentsOf(t, "a"))
	require.Equal(t, []audience.Number{2}, h.segmentsOf(t, "b"))
	require.Zero(t, h.Lag())
}

func TestAStartMakesGoodWhatHappenedWhileTheServiceWasDown(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`})
	token := h.ingest(t, visit("a", "1", noon))
	require.NoError(t, h.Wait(t.Context(), token))
	h.stop()
	_, err := h.store.WriteEvents(t.Context(), []audience.Event{visit("b", "1", noon)}) // and the process dies before the touch
	require.NoError(t, err)
	h.clock.set(noon.Add(7 * 24 * time.Hour))
	h.ingest(t, visit("c", "1", h.clock.Now()))
	h.start(t)
	require.NoError(t, h.Wait(t.Context(), token), "a token of the process before")
	require.Empty(t, h.segmentsOf(t, "a"))
	require.Empty(t, h.segmentsOf(t, "b"))
	require.Equal(t, []audience.Number{1}, h.segmentsOf(t, "c"))
}

func TestBadFreshnessTokens(t *testing.T) {
	h := newLiveHouse(t)
	token := h.Touch(nil, segmenter.CauseEvent)
	other := newHouse(t)
	for name, token := range map[string]string{
		"not a token": "now", "empty": "", "of a later process": other.Touch(nil, ""), "truncated": token[:10],
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, h.Wait(t.Context(), token), audience.ErrInvalid)
		})
	}
	require.NoError(t, h.Wait(t.Context(), token))
}

func TestWatch(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`}, audience.Segment{Expression: `count("visit", "7d") >= 2`})
	h.settle(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// seen collects n changes of a stream.
	seen := func(cursor string, n int, segments ...audience.SegmentID) (changes []audience.WatchedChange) {
		t.Helper()
		for change, err := range h.Watch(ctx, cursor, segments) {
			require.NoError(t, err)
			if changes = append(changes, change); len(changes) == n {
				break
			}
		}
		return changes
	}
	text := func(changes []audience.WatchedChange) (out []string) {
		for _, c := range changes {
			out = append(out, fmt.Sprintf("%s +%v -%v", c.User, c.Entered, c.Left))
		}
		return out
	}
	var all []audience.WatchedChange
	watching, begun := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		begins := sync.OnceFunc(func() { close(begun) })
		for change, err := range h.Watch(ctx, "", nil) {
			if err != nil {
				t.Errorf("watch: %v", err)
				return
			}
			if strings.HasPrefix(string(change.User), "early") {
				begins()
			} else if all = append(all, change); len(all) == 5 {
				return
			}
		}
	}()
	for n, watched := 0, false; !watched; n++ { // from when on it watches is not known
		h.ingest(t, visit(fmt.Sprint("early", n), "1", noon))
		h.settle(t)
		select {
		case <-begun:
			watched = true
		case <-watching:
			t.FailNow()
		case <-time.After(10 * time.Millisecond):
		}
	}
	begin, err := h.Cursor(ctx)
	require.NoError(t, err)
	for i, user := range []string{"a", "b", "a", "c", "b"} {
		h.ingest(t, visit(user, fmt.Sprint(i), noon))
		h.settle(t)
	}
	<-watching
	want := []string{"a +[s1] -[]", "b +[s1] -[]", "a +[s2] -[]", "c +[s1] -[]", "b +[s2] -[]"}
	require.Equal(t, want, text(all))
	require.Equal(t, want, text(seen(begin, 5)), "from memory, from the beginning")
	for i, change := range all[:4] {
		require.Equal(t, want[i+1:], text(seen(change.Cursor, 4-i)), "from memory")
	}

	h.stop()
	h.start(t)
	h.settle(t)
	require.Equal(t, want, text(seen(begin, 5)), "from the log, from the beginning")
	for i, change := range all[:4] {
		require.Equal(t, want[i+1:], text(seen(change.Cursor, 4-i)), "from the log")
	}
	for name, cursor := range map[string]string{"of other segments": all[0].Cursor, "no cursor": "x"} {
		for _, err := range h.Watch(ctx, cursor, []audience.SegmentID{"s1"}) {
			require.ErrorIs(t, err, audience.ErrInvalid, name)
		}
	}
}

var _ segmenter.Log = (*warehouse.Store)(nil)
