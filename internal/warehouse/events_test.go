package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// write stores events that must not fail and reports which repeat.
func write(t testing.TB, store *Store, events ...audience.Event) []bool {
	t.Helper()
	duplicate, err := store.WriteEvents(t.Context(), events)
	require.NoError(t, err)
	return duplicate
}

func TestRepeatsCountOnce(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	store := reopen(t, dsn)
	require.Equal(t, []bool{false, false, true, false}, write(t, store, event("a", "1"), event("b", "1"), event("a", "1"), event("a", "2")), "in one batch")
	require.Equal(t, []bool{true, false}, write(t, store, event("b", "1"), event("b", "2")), "in another batch")

	altered := event("a", "1")
	altered.Type, altered.Time, altered.ValueMicros = "refund", altered.Time.AddDate(-11, 2, 0), -1
	require.Equal(t, []bool{true}, write(t, store, altered), "with another type, time and value")

	require.NoError(t, store.Close())
	store = reopen(t, dsn)
	require.Equal(t, []bool{true, false, true}, write(t, store, event("a", "2"), event("c", "1"), altered), "after a restart")
	for store.writer.history.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, []bool{true, false, true}, write(t, store, event("b", "2"), event("c", "2"), altered), "with history in memory")

	require.Equal(t, 6, count(t, store, "events"))
	require.Equal(t, 6, count(t, store, "events WHERE type = 'purchase' AND value_micros = 12500000 AND texts['category'] = 'books' AND numbers['quantity'] = 2 AND toYear(time) = 2026"), "the first one stands")
	require.Equal(t, 3, count(t, store, "users FINAL"))
}

func TestConcurrentCallersWithTheSameEvents(t *testing.T) {
	const callers, each = 8, 300
	store := open(t)
	var mu sync.Mutex
	var wait sync.WaitGroup
	fresh := 0
	for range callers {
		wait.Go(func() {
			for from := 0; from < each; from += 50 {
				var events []audience.Event
				for i := from; i < from+50; i++ {
					events = append(events, event("a", fmt.Sprint(i)))
				}
				duplicate, err := store.WriteEvents(context.Background(), events)
				mu.Lock()
				for _, repeated := range duplicate {
					if !repeated {
						fresh++
					}
				}
				if err != nil {
					t.Errorf("write: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	require.Equal(t, each, fresh, "each event is new to exactly one caller")
	require.Equal(t, each, count(t, store, "events"))
}

func TestOneBatchSpansDecades(t *testing.T) {
	store := open(t)
	var events []audience.Event
	for month := range 12 * 30 {
		e := event("a", fmt.Sprint(month))
		e.Time = audience.EarliestEvent.AddDate(0, month, 0)
		events = append(events, e)
	}
	last := event("a", "last")
	last.Time = audience.LatestEvent.Add(-time.Millisecond)
	write(t, store, append(events, last)...)
	require.Equal(t, 12*30+1, count(t, store, "events"))
	require.Equal(t, 1, count(t, store, "events WHERE time = '2099-12-31 23:59:59.999'"))
}

func TestOddIdsSurvive(t *testing.T) {
	store := open(t)
	for _, id := range []string{"Łódź 'x' \\ {a:String}", "日本語", "; DROP TABLE events", "\u202e"} {
		require.Equal(t, []bool{false}, write(t, store, event(id, id)))
		require.Equal(t, []bool{true}, write(t, store, event(id, id)))
		require.NoError(t, store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: audience.UserID(id), Texts: map[string]string{id: id}}}))
		profile, err := store.GetProfile(t.Context(), audience.UserID(id))
		require.NoError(t, err)
		require.Equal(t, map[string]string{id: id}, profile.Texts)
	}
}

func TestNothingIsLostOrDoubledWhenTheConnectionBreaks(t *testing.T) {
	const batches, each = 12, 400
	direct := enginetest.ClickHouse(t)
	cut, dsn := behindProxy(t, direct)
	store := reopen(t, dsn)
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for pause := time.Millisecond; ; pause = pause*7%(23*time.Millisecond) + time.Millisecond {
			select {
			case <-stop:
				return
			case <-time.After(pause):
				cut.cut()
				time.Sleep(pause / 4)
				cut.mend()
			}
		}
	})
	failures, landed := 0, 0 // landed: rows of failed writes that were stored all the same
	for batch := range batches {
		var events []audience.Event
		for i := range each {
			events = append(events, event(fmt.Sprintf("user-%d-%d", batch, i/2), fmt.Sprint(i)))
		}
		for {
			duplicate, err := store.WriteEvents(t.Context(), events)
			if err == nil {
				landed += len(slices.DeleteFunc(duplicate, func(repeated bool) bool { return !repeated }))
				break
			}
			require.ErrorIs(t, err, audience.ErrUnavailable)
			failures++
		}
	}
	close(stop)
	cutter.Wait()
	t.Logf("%d writes failed on the way; %d of %d rows were stored by such", failures, landed, batches*each)
	require.NotZero(t, failures)
	whole := reopen(t, direct) // the store's pool may hold a connection that was cut
	require.Equal(t, batches*each, count(t, whole, "events"))
	require.Equal(t, batches*each/2, count(t, whole, "users FINAL"))
}

func TestAnInsertWhoseAnswerIsLostDoesNotLandLater(t *testing.T) {
	direct := enginetest.ClickHouse(t)
	cut, dsn := behindProxy(t, direct)
	store := reopen(t, dsn)
	require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: "ALTER TABLE events ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(1.4)"}))
	events := []audience.Event{event("a", "1"), event("a", "2")}

	failed := make(chan error)
	go func() {
		_, err := store.WriteEvents(t.Context(), events)
		failed <- err
	}()
	require.Eventually(t, func() bool {
		return count(t, store, "system.processes WHERE startsWith(query, 'INSERT INTO events') AND elapsed > 0.1 AND current_database = currentDatabase()") == 1
	}, 20*time.Second, 20*time.Millisecond)
	cut.cut()
	cut.mend()
	require.ErrorIs(t, <-failed, audience.ErrUnavailable)

	duplicate, err := store.WriteEvents(t.Context(), events)
	for errors.Is(err, audience.ErrUnavailable) { // by a pooled connection that was cut, too
		duplicate, err = store.WriteEvents(t.Context(), events)
	}
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, duplicate, "the first attempt is known not to have landed")
	require.Equal(t, 2, count(t, reopen(t, direct), "events"))
}

func TestACallerWhoseTimeIsUpDoesNotWait(t *testing.T) {
	store := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.WriteEvents(ctx, []audience.Event{event("a", "1")})
	require.ErrorIs(t, err, context.Canceled)
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	store := open(t)
	require.NoError(t, store.Close())
	_, err := store.WriteEvents(t.Context(), []audience.Event{event("a", "1")})
	require.ErrorIs(t, err, audience.ErrUnavailable)
	require.ErrorIs(t, store.Ping(t.Context()), audience.ErrUnavailable)
}

// rowsRead counts the rows ClickHouse reads for what is done with the context. The driver reports them from a goroutine of its own.
func rowsRead(ctx context.Context, rows *atomic.Uint64) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithProgress(func(p *clickhouse.Progress) { rows.Add(p.Rows) }))
}

func TestALookUpReadsAFewGranulesOnly(t *testing.T) {
	store := open(t)
	require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: `
		INSERT INTO events (user_id, event_id, type, time) SELECT concat('user-', leftPad(toString(number), 7, '0')),
			toString(number), if(number % 8 = 0, 'purchase', 'visit'), toDateTime64('2026-01-01 00:00:00', 3, 'UTC') FROM numbers(400000)`}))
	e := event("user-0200000", "200000")
	e.Type = "purchase, but under another type"
	rows := columnsOf([]audience.Event{e})
	var read atomic.Uint64
	found := 0
	require.NoError(t, store.lookUp(rowsRead(t.Context(), &read), rows, map[eventKey]int{{rows.users[0], rows.ids[0]}: 0},
		anywhere, func(eventKey) { found++ }))
	require.Equal(t, 1, found)
	require.Less(t, read.Load(), uint64(50_000))
	require.NotZero(t, read.Load(), "counted at all")
}
