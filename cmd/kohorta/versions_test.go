package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// TestChangedSegmentsThroughEveryDoor: callers who ask all the time, one user or many, list members, with filters too, watch,
// or ask for sizes see a segment and one that refers to it by the old definition or by the new one, never by both, and never by
// the old one again; through a change and its rollback.
func TestChangedSegmentsThroughEveryDoor(t *testing.T) {
	const users = 6000 // of whom the i-th came i%3 times
	s := startService(t)
	c, err := dial(s.address())
	require.NoError(t, err)
	defer c.conn.Close()
	ctx := t.Context()

	var events []audience.Event
	for i := range users {
		for n := range i % 3 {
			events = append(events, audience.Event{User: audience.UserID(visitor(i)), ID: fmt.Sprint(n), Type: "visit", Time: time.Now().Add(-time.Hour)})
		}
	}
	_, err = s.store.WriteEvents(ctx, events)
	require.NoError(t, err)
	for _, segment := range []struct{ id, expression string }{
		{"often", `count("visit", "30d") >= 2`},
		{"seldom", `did("visit", "30d") && !in_segment("often")`},
	} {
		_, err := c.segments.CreateSegment(ctx, &audiencev1.CreateSegmentRequest{SegmentId: segment.id, Segment: &audiencev1.Segment{Expression: segment.expression}})
		require.NoError(t, err)
	}
	evaluated, err := c.segments.EvaluateSegments(ctx, &audiencev1.EvaluateSegmentsRequest{})
	require.NoError(t, err)
	_, err = c.watch(ctx, io.Discard, evaluated.GetRun().GetName())
	require.NoError(t, err)

	// Those who came once are the ones a change moves: from seldom, by the old definition, to often, by the new one.
	const isOld, isNew = 1, 2
	var stage atomic.Int32
	const changed, goingBack, back = 1, 2, 3 // after 0, while it changes
	doors := map[string]func(context.Context) (definition int, err error){
		"GetMembership": func(ctx context.Context) (int, error) {
			r, err := c.memberships.GetMembership(ctx, &audiencev1.GetMembershipRequest{UserId: visitor(1)})
			return onceIn(r.GetMembership().GetSegments()), err
		},
		"BatchGetMembership": func(ctx context.Context) (int, error) {
			r, err := c.memberships.BatchGetMembership(ctx, &audiencev1.BatchGetMembershipRequest{UserIds: onceCame(1000)})
			return alike(r.GetMemberships(), func(m *audiencev1.Membership) int { return onceIn(m.GetSegments()) }), err
		},
		"CheckMembership": func(ctx context.Context) (int, error) {
			r, err := c.memberships.CheckMembership(ctx, &audiencev1.CheckMembershipRequest{UserId: visitor(4), Segment: "segments/often"})
			if r.GetMember() {
				return isNew, err
			}
			return isOld, err
		},
		"ListMembers": func(ctx context.Context) (int, error) {
			return listedBy(ctx, c, &audiencev1.ListMembersRequest{Name: "segments/often"}, map[int]int{users / 3: isOld, 2 * users / 3: isNew})
		},
		"ListMembers with a filter": func(ctx context.Context) (int, error) {
			return listedBy(ctx, c, &audiencev1.ListMembersRequest{Name: "segments/-", Filter: "seldom && !often"}, map[int]int{users / 3: isOld, 0: isNew})
		},
		"GetSegment": func(ctx context.Context) (int, error) {
			r, err := c.segments.GetSegment(ctx, &audiencev1.GetSegmentRequest{Name: "segments/seldom"})
			return map[int64]int{users / 3: isOld, 0: isNew}[r.GetSegment().GetMemberCount()], err
		},
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var callers sync.WaitGroup
	asked := map[string]*atomic.Int64{}
	for name, door := range doors {
		count := new(atomic.Int64)
		asked[name] = count
		callers.Go(func() {
			turns := 0 // how often another definition was seen than before
			for asking.Err() == nil {
				begun := stage.Load()
				definition, err := door(asking)
				ended := stage.Load()
				switch {
				case asking.Err() != nil || status.Code(err) == codes.Aborted || status.Code(err) == codes.Unavailable: // a list that was overtaken; a slow machine
					continue
				case err != nil || definition == 0:
					t.Errorf("%s: neither the old nor the new: %v", name, err)
					return
				}
				count.Add(1)
				switch {
				case definition == isNew && turns == 0, definition == isOld && turns == 1 && ended >= goingBack:
					turns++
				case definition == isOld && turns == 1, definition == isNew && turns == 2:
					t.Errorf("%s: back again", name)
				}
				if definition == isOld && begun == changed && ended == changed || definition == isNew && begun == back {
					t.Errorf("%s: definition %d when another was in force", name, definition)
				}
			}
			if turns != 2 {
				t.Errorf("%s: saw %d turns", name, turns)
			}
		})
	}
	everybodyAsks := func() {
		t.Helper()
		for name, count := range asked {
			next := count.Load() + 2 // the first may be under way
			require.Eventually(t, func() bool { return count.Load() >= next }, time.Minute, time.Millisecond, name)
		}
	}
	moved := make(chan string, 2*users)
	watching, err := c.memberships.WatchMembership(asking, &audiencev1.WatchMembershipRequest{Segments: []string{"segments/often"}})
	require.NoError(t, err)
	callers.Go(func() {
		for {
			r, err := watching.Recv()
			if err != nil {
				return
			}
			for _, change := range r.GetChanges() {
				moved <- fmt.Sprint(change.GetUserId(), len(change.GetEntered()), len(change.GetLeft()))
			}
		}
	})

	everybodyAsks()
	updated, err := c.segments.UpdateSegment(ctx, &audiencev1.UpdateSegmentRequest{
		Segment: &audiencev1.Segment{Name: "segments/often", Expression: `count("visit", "30d") >= 1`},
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, updated.GetSegment().GetVersion())
	run, err := c.watch(ctx, io.Discard, updated.GetRun().GetName())
	require.NoError(t, err)
	require.EqualValues(t, users/3, run.GetCounts()["entered/often"])
	require.EqualValues(t, users/3, run.GetCounts()["left/seldom"])
	stage.Store(changed)
	require.Eventually(t, func() bool { return len(moved) == users/3 }, time.Minute, 10*time.Millisecond)
	everybodyAsks()
	stage.Store(goingBack)
	rolled, err := c.segments.RollbackSegment(ctx, &audiencev1.RollbackSegmentRequest{Name: "segments/often", Version: 1})
	require.NoError(t, err)
	_, err = c.watch(ctx, io.Discard, rolled.GetRun().GetName())
	require.NoError(t, err)
	stage.Store(back)
	require.Eventually(t, func() bool { return len(moved) == 2*users/3 }, time.Minute, 10*time.Millisecond)
	everybodyAsks()
	stop()
	callers.Wait()
	close(moved)
	var told []string
	for change := range moved {
		told = append(told, change)
	}
	for i, user := range onceCame(users / 3) {
		require.Equal(t, user+"1 0", told[i])
		require.Equal(t, user+"0 1", told[users/3+i])
	}
}

// onceCame are the first n users who came once, in their order.
func onceCame(n int) (users []string) {
	for i := range n {
		users = append(users, visitor(3*i+1))
	}
	return users
}

// onceIn says by which definition somebody who came once is in the segments; 0: by none.
func onceIn(segments []string) int {
	return 1 + slices.IndexFunc([]string{"segments/seldom", "segments/often"}, func(only string) bool { return slices.Equal(segments, []string{only}) })
}

// alike is what all items say; 0 when they differ.
func alike[T any](items []T, of func(T) int) int {
	for _, item := range items {
		if of(item) != of(items[0]) {
			return 0
		}
	}
	if len(items) == 0 {
		return 0
	}
	return of(items[0])
}

// listedBy says by which definition a list is, by its length.
func listedBy(ctx context.Context, c *client, request *audiencev1.ListMembersRequest, lengths map[int]int) (int, error) {
	stream, err := c.segments.ListMembers(ctx, request)
	for n := 0; err == nil; {
		var r *audiencev1.ListMembersResponse
		if r, err = stream.Recv(); errors.Is(err, io.EOF) {
			return lengths[n], nil
		}
		n += len(r.GetUserIds())
	}
	return 0, err
}
