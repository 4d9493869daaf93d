package warehouse

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// excerpts writes down what is read of users, each in a line.
func excerpts(t *testing.T, s *Store, selection audience.Selection, users ...audience.UserID) []string {
	t.Helper()
	var lines []string
	for x, err := range s.Excerpts(t.Context(), users, selection) {
		require.NoError(t, err)
		var line strings.Builder
		fmt.Fprintf(&line, "%s %v %v", x.User, x.Known, x.Recorded)
		for _, e := range x.Events {
			fmt.Fprintf(&line, " %s@%s %d", selection.Events[e.Type].Type, time.UnixMilli(e.Millis).UTC().Format("15:04"), e.ValueMicros)
			for _, text := range e.Texts {
				if text != nil {
					fmt.Fprintf(&line, " %q", *text)
				}
			}
			for _, number := range e.Numbers {
				if !math.IsNaN(number) {
					fmt.Fprintf(&line, " %v", number)
				}
			}
		}
		for _, pin := range x.Pins {
			fmt.Fprintf(&line, " pin %d %+d %v", pin.Segment, pin.Held, pin.Expires.IsZero())
		}
		for _, score := range x.Scores {
			fmt.Fprintf(&line, " label %d", score.Label)
		}
		if selection.Country || selection.Attributes {
			fmt.Fprintf(&line, " %q %v %v", x.Profile.Country, x.Profile.Texts, x.Profile.Numbers)
		}
		lines = append(lines, line.String())
	}
	slices.Sort(lines)
	return lines
}

func TestExcerptsHoldWhatIsSelected(t *testing.T) {
	s := open(t)
	event := func(user, id, of string, ago time.Duration, value int64) audience.Event {
		return audience.Event{User: audience.UserID(user), ID: id, Type: of, Time: midday.Add(-ago), ValueMicros: value,
			Texts: map[string]string{"page": id, "empty": ""}, Numbers: map[string]float64{"zero": 0}}
	}
	_, err := s.WriteEvents(t.Context(), []audience.Event{
		event("ann", "b", "visit", time.Hour, 1), event("ann", "a", "visit", time.Hour, 2), event("ann", "old", "visit", 3*time.Hour, 3),
		event("ann", "c", "purchase", 9*time.Hour, 4), event("bob", "d", "visit", time.Minute, 5), event("cid", "e", "search", 0, 6), event("eve", "f", "visit", 0, 7),
	})
	require.NoError(t, err)
	germany := "DE"
	require.NoError(t, s.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: "dan", Country: &germany, Texts: map[string]string{"plan": "pro"}}}))
	_, err = s.WriteMove(t.Context(), audience.Move{User: "cid", Into: []audience.SegmentID{"vip"}}, map[audience.SegmentID]audience.Number{"vip": 7}, midday)
	require.NoError(t, err)
	require.NoError(t, s.AppendChanges(t.Context(), []audience.Change{
		{Membership: audience.Membership{User: "ann", Segments: []audience.Number{1, 3}, Version: 1}, Entered: []audience.Number{1, 3}, Time: midday}}))
	require.NoError(t, s.Exec(t.Context(), audience.Query{
		SQL: "INSERT INTO scores (model, version, user_id, label) VALUES (2, 1, 'bob', 9), (2, 2, 'bob', 4), (3, 2, 'bob', 9)"}))

	users := []audience.UserID{"ann", "bob", "cid", "dan", "nobody"}
	for _, c := range []struct {
		name      string
		selection audience.Selection
		want      []string
	}{
		{"the record alone", audience.Selection{}, []string{"ann true [1 3]", "bob true []", "cid true [] pin 7 +1 true", "dan true []", "nobody false []"}},
		{"types and their reach, in order",
			audience.Selection{InOrder: true, Events: []audience.EventSelection{{Type: "visit", After: midday.Add(-2 * time.Hour)}, {Type: "purchase"}}},
			[]string{"ann true [1 3] purchase@03:00 4 visit@11:00 2 visit@11:00 1", "bob true [] visit@11:59 5", "cid true [] pin 7 +1 true", "dan true []", "nobody false []"}},
		{"properties",
			audience.Selection{Events: []audience.EventSelection{{Type: "purchase"}}, Texts: []string{"page", "none", "empty"}, Numbers: []string{"none", "zero"}},
			[]string{`ann true [1 3] purchase@03:00 4 "c" "" 0`, "bob true []", "cid true [] pin 7 +1 true", "dan true []", "nobody false []"}},
		{"scores of a version, and countries", audience.Selection{Country: true, Scores: []audience.ScoreSelection{{Model: 2, Version: 2}}},
			[]string{`ann true [1 3] label 0 "" map[] map[]`, `bob true [] label 4 "" map[] map[]`, `cid true [] pin 7 +1 true label 0 "" map[] map[]`,
				`dan true [] label 0 "DE" map[] map[]`, `nobody false [] label 0 "" map[] map[]`}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, excerpts(t, s, c.selection, users...)) })
	}
	require.Equal(t, []string{`dan true [] "DE" map[plan:pro] map[]`}, excerpts(t, s, audience.Selection{Attributes: true}, "dan"))
	for _, err := range s.Excerpts(t.Context(), users, audience.Selection{Events: []audience.EventSelection{{Type: "visit"}}}) {
		require.NoError(t, err)
		break // leaves the connection whole
	}
	require.Empty(t, excerpts(t, s, audience.Selection{}))
}

// TestExcerptsOfOneUserWithALongHistory: events stream, in more than one block.
func TestExcerptsOfOneUserWithALongHistory(t *testing.T) {
	s := open(t)
	require.NoError(t, s.Exec(t.Context(), audience.Query{SQL: `INSERT INTO events (user_id, event_id, type, time, value_micros)
		SELECT if(number % 100 = 0, 'few', 'many'), toString(number), 'visit', fromUnixTimestamp64Milli(toInt64(number), 'UTC'), number FROM numbers(100000)`}))
	sums, events := map[audience.UserID]int64{}, map[audience.UserID]int{}
	for x, err := range s.Excerpts(t.Context(), []audience.UserID{"few", "many"}, audience.Selection{Events: []audience.EventSelection{{Type: "visit"}}}) {
		require.NoError(t, err)
		events[x.User] += len(x.Events)
		for _, e := range x.Events {
			sums[x.User] += e.ValueMicros
		}
	}
	require.Equal(t, map[audience.UserID]int{"few": 1000, "many": 99_000}, events)
	require.Equal(t, map[audience.UserID]int64{"few": 49_950_000, "many": 99_999*50_000 - 49_950_000}, sums)
}

// TestExcerptsOfALongHistoryReadItsWindows: what is older than any window is not read, even when a type without one is selected beside it.
func TestExcerptsOfALongHistoryReadItsWindows(t *testing.T) {
	s := open(t)
	require.NoError(t, s.Exec(t.Context(), audience.Query{SQL: `INSERT INTO events (user_id, event_id, type, time)
		SELECT 'many', toString(number), if(number % 1000 = 0, 'purchase', 'visit'), fromUnixTimestamp64Milli(toInt64(number), 'UTC') FROM numbers(100000)`}))
	recent := audience.EventSelection{Type: "visit", After: time.UnixMilli(99_899)}
	for _, c := range []struct {
		name      string
		selection []audience.EventSelection
		events    int
	}{
		{"one window", []audience.EventSelection{recent}, 100},
		{"a window and a type without", []audience.EventSelection{recent, {Type: "purchase"}}, 200},
		{"two windows", []audience.EventSelection{recent, {Type: "purchase", After: time.UnixMilli(98_999)}}, 101},
	} {
		t.Run(c.name, func(t *testing.T) {
			var read atomic.Uint64
			events := 0
			for x, err := range s.Excerpts(rowsRead(t.Context(), &read), []audience.UserID{"many"}, audience.Selection{Events: c.selection}) {
				require.NoError(t, err)
				events += len(x.Events)
			}
			require.Equal(t, c.events, events)
			require.Less(t, read.Load(), uint64(10_000))
			require.NotZero(t, read.Load(), "counted at all")
		})
	}
}

func TestExcerptsOfFewUsersReadFewMembers(t *testing.T) {
	store := open(t)
	require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: `
		INSERT INTO members SELECT concat('user-', leftPad(toString(number), 7, '0')), [1], 1 FROM numbers(400000)`}))
	users := []audience.UserID{"new", "user-0000007", "user-0300000"}
	var read atomic.Uint64
	recorded := map[audience.UserID][]audience.Number{}
	for x, err := range store.Excerpts(rowsRead(t.Context(), &read), users, audience.Selection{}) {
		require.NoError(t, err)
		recorded[x.User] = x.Recorded
	}
	require.Equal(t, map[audience.UserID][]audience.Number{"new": nil, "user-0000007": {1}, "user-0300000": {1}}, recorded)
	require.Less(t, read.Load(), uint64(50_000))
	require.NotZero(t, read.Load(), "counted at all")
}
