package segmenter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// tiers are an exclusive group, gold before silver before bronze, and a segment beside it.
var tiers = []audience.Segment{
	{ID: "gold", Group: "tier", Priority: 1, Expression: `count("purchase", "30d") >= 3`},
	{ID: "silver", Group: "tier", Priority: 2, Expression: `count("purchase", "30d") >= 2`},
	{ID: "bronze", Group: "tier", Priority: 3, Expression: `count("purchase", "30d") >= 1`},
	{ID: "visitor", Expression: `did("visit", "7d")`},
}

const gold, silver, bronze, visitor = audience.Number(1), audience.Number(2), audience.Number(3), audience.Number(4)

func purchases(user string, n int) (events []audience.Event) {
	for i := range n {
		events = append(events, audience.Event{User: audience.UserID(user), ID: fmt.Sprintf("p%d", i), Type: "purchase", Time: noon.Add(-time.Hour)})
	}
	return events
}

func TestMoves(t *testing.T) {
	h := newLiveHouse(t, tiers...)
	h.ingest(t, purchases("a", 3)...)
	h.settle(t)
	require.Equal(t, []audience.Number{gold}, h.segmentsOf(t, "a"))
	for i, step := range []struct {
		move audience.Move
		want []audience.Number
	}{
		{audience.Move{Into: []audience.SegmentID{"bronze"}}, []audience.Number{bronze}},
		{audience.Move{Into: []audience.SegmentID{"silver", "visitor"}}, []audience.Number{silver, visitor}},
		{audience.Move{OutOf: []audience.SegmentID{"silver", "visitor"}}, []audience.Number{bronze}},
		{audience.Move{Release: []audience.SegmentID{"bronze"}}, []audience.Number{gold}},
		{audience.Move{OutOf: []audience.SegmentID{"gold"}}, []audience.Number{bronze}},
		{audience.Move{Release: []audience.SegmentID{"silver"}}, []audience.Number{silver}},
		{audience.Move{Into: []audience.SegmentID{"gold"}, Expires: noon.Add(time.Hour)}, []audience.Number{gold}},
	} {
		step.move.User = "a"
		token, err := h.MoveUser(t.Context(), step.move)
		require.NoError(t, err)
		require.Equal(t, step.want, h.segmentsOf(t, "a"), "move %d", i)
		require.NoError(t, h.Wait(t.Context(), token))
	}
	h.clock.set(noon.Add(time.Hour - time.Millisecond))
	h.settle(t)
	require.Equal(t, []audience.Number{gold}, h.segmentsOf(t, "a"))
	h.clock.set(noon.Add(time.Hour))
	h.settle(t)
	require.Equal(t, []audience.Number{gold}, h.segmentsOf(t, "a"), "the pin out of it was replaced by the one that has ended")

	_, err := h.MoveUser(t.Context(), audience.Move{User: "nobody yet", Into: []audience.SegmentID{"gold"}})
	require.NoError(t, err)
	require.Equal(t, []audience.Number{gold}, h.segmentsOf(t, "nobody yet"))
}

func TestARepeatedMoveDoesNothingTwice(t *testing.T) {
	h := newLiveHouse(t, tiers...)
	first := audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, RequestID: "1"}
	for _, move := range []audience.Move{first, {User: "a", Into: []audience.SegmentID{"bronze"}, RequestID: "2"}, first} {
		_, err := h.MoveUser(t.Context(), move)
		require.NoError(t, err)
	}
	require.Equal(t, []audience.Number{bronze}, h.segmentsOf(t, "a"))
	first.Reason = "another"
	_, err := h.MoveUser(t.Context(), first)
	require.ErrorIs(t, err, audience.ErrConflict)
}

func TestBadMoves(t *testing.T) {
	h := newLiveHouse(t, tiers...)
	h.settle(t)
	_, err := h.store.Segments().Create(t.Context(), audience.Segment{ID: "new", Expression: "true"})
	require.NoError(t, err)
	_, err = h.store.Segments().Create(t.Context(), audience.Segment{ID: "off", Expression: "true", Disabled: true})
	require.NoError(t, err)
	into := func(ids ...audience.SegmentID) audience.Move { return audience.Move{User: "a", Into: ids} }
	for name, test := range map[string]struct {
		move  audience.Move
		kind  error
		field string
	}{
		"of nobody":              {audience.Move{Into: []audience.SegmentID{"gold"}}, audience.ErrInvalid, "user_id"},
		"nowhere":                {into(), audience.ErrInvalid, "into"},
		"no such segment":        {into("golden"), audience.ErrInvalid, "into[0]"},
		"disabled":               {into("gold", "off"), audience.ErrInvalid, "into[1]"},
		"not evaluated yet":      {into("new"), audience.ErrPrecondition, ""},
		"two of one group":       {into("gold", "visitor", "bronze"), audience.ErrInvalid, "into[2]"},
		"into and out of":        {audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, OutOf: []audience.SegmentID{"gold"}}, audience.ErrInvalid, "out_of[0]"},
		"ended already":          {audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, Expires: noon}, audience.ErrInvalid, "expires"},
		"for hundreds of years":  {audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, Expires: noon.AddDate(200, 0, 0)}, audience.ErrInvalid, "expires"},
		"reason of a megabyte":   {audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, Reason: string(make([]byte, 1<<20))}, audience.ErrInvalid, "reason"},
		"request id of controls": {audience.Move{User: "a", Into: []audience.SegmentID{"gold"}, RequestID: "\x00"}, audience.ErrInvalid, "request_id"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.MoveUser(t.Context(), test.move)
			require.ErrorIs(t, err, test.kind)
			if test.field != "" {
				var invalid *audience.InvalidError
				require.ErrorAs(t, err, &invalid)
				require.Equal(t, test.field, invalid.Violations[0].Field)
			}
		})
	}
}

// moment is one call of a history: a move that took place, or a read and what it gave.
type moment struct {
	began, ended time.Time
	request      string // of a move
	tier         audience.Number
}

// TestMovesAreLinearisable moves users between the segments of an exclusive group from many sides at once, while others
// read. There must be one order of all moves of a user, the one of their versions, which agrees with the clock wherever a
// call ended before another began, and by which every read gives the latest move, or one that was under way.
func TestMovesAreLinearisable(t *testing.T) {
	const users, movers, moves = 3, 6, 8
	h := newLiveHouse(t, tiers...)
	h.settle(t)
	var mu sync.Mutex
	moved, read := map[audience.UserID][]moment{}, map[audience.UserID][]moment{}
	note := func(list map[audience.UserID][]moment, user audience.UserID, m moment) {
		m.ended = time.Now()
		mu.Lock()
		defer mu.Unlock()
		list[user] = append(list[user], m)
	}
	someone := func(random *rand.Rand) audience.UserID {
		return audience.UserID(fmt.Sprintf("user-%d", random.IntN(users)))
	}

	ctx, endReads := context.WithCancel(t.Context())
	var reading, moving sync.WaitGroup
	for i := range 2 {
		reading.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				user, m := someone(random), moment{began: time.Now()}
				membership, err := h.live.Get(t.Context(), user)
				if errors.Is(err, audience.ErrUnavailable) { // on a machine under load
					continue
				}
				if err != nil || len(membership.Segments) > 1 {
					t.Errorf("an exclusive group gave %v, %v", membership.Segments, err)
					return
				}
				if len(membership.Segments) == 1 {
					m.tier = membership.Segments[0]
				}
				note(read, user, m)
				time.Sleep(time.Millisecond)
			}
		})
	}
	for i := range movers {
		moving.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			for n := range moves {
				m := moment{began: time.Now(), request: fmt.Sprintf("%d/%d", i, n), tier: audience.Number(1 + random.IntN(3))}
				user := someone(random)
				_, err := h.MoveUser(t.Context(), audience.Move{User: user, Into: []audience.SegmentID{tiers[m.tier-1].ID}, RequestID: m.request})
				if err != nil {
					t.Errorf("move: %v", err)
				}
				note(moved, user, m)
			}
		})
	}
	moving.Wait()
	endReads()
	reading.Wait()

	for user := range read {
		order := h.orderOf(t, user)
		slices.SortFunc(moved[user], func(a, b moment) int { return order[a.request] - order[b.request] })
		for i, earlier := range moved[user] {
			for _, later := range moved[user][i+1:] {
				require.False(t, later.ended.Before(earlier.began), "move %s came after %s, which began when it had ended", earlier.request, later.request)
			}
		}
		requireReadsInOrder(t, moved[user], read[user])
	}
}

// orderOf is the place of each move of a user, by request.
func (h *liveHouse) orderOf(t *testing.T, user audience.UserID) map[string]int {
	t.Helper()
	order := map[string]int{}
	require.NoError(t, h.store.Select(t.Context(), audience.Query{
		SQL: "SELECT request_id FROM moves WHERE user_id = {user:String} ORDER BY version", Params: map[string]any{"user": string(user)},
	}, func(scan func(...any) error) error {
		var request string
		err := scan(&request)
		order[request] = len(order)
		return err
	}))
	return order
}

// requireReadsInOrder gives each read the first state it can have seen: not before the moves that had ended when it began, nor
// before what an earlier read saw, nor after moves that began when it had ended. State n is that after n moves.
func requireReadsInOrder(t *testing.T, moves, reads []moment) {
	t.Helper()
	slices.SortFunc(reads, func(a, b moment) int { return a.began.Compare(b.began) })
	saw := make([]int, len(reads))
	for i, read := range reads {
		state := 0
		for n, move := range moves {
			if move.ended.Before(read.began) {
				state = n + 1
			}
		}
		for j, earlier := range reads[:i] {
			if earlier.ended.Before(read.began) {
				state = max(state, saw[j])
			}
		}
		for ; ; state++ {
			if state == 0 && read.tier == 0 || state > 0 && moves[state-1].tier == read.tier {
				break
			}
			require.Less(t, state, len(moves), "a read gave tier %d, which no move there was can explain", read.tier)
		}
		if state > 0 {
			require.False(t, moves[state-1].began.After(read.ended), "a read saw a move that had not begun")
		}
		saw[i] = state
	}
}
