package warehouse

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// TestLateInsertIsRefused: an insert of the writer passes its look at the lease, and is on its way, or its process is paused,
// until another has taken over and written the same. It is refused, wherever it was meanwhile.
func TestLateInsertIsRefused(t *testing.T) {
	visit := func(store *Store, second bool) error {
		late := event("ann", "late")
		if second { // by its sender's repeat, which need not say the same
			late.Time = late.Time.Add(time.Hour)
		}
		duplicate, err := store.WriteEvents(t.Context(), []audience.Event{late})
		if err == nil && duplicate[0] {
			err = audience.ErrExists
		}
		return err
	}
	step := func(store *Store, second bool) error {
		version := uint64(7)
		if second {
			version = 8
		}
		return store.AppendChanges(t.Context(), []audience.Change{change(version, "ann", 1)})
	}
	for name, test := range map[string]struct {
		chunk int // the first one of the insert that is late
		write func(store *Store, second bool) error
		rows  string
	}{
		"an event, before ClickHouse knows of it":             {1, visit, "events WHERE event_id = 'late'"},
		"an event, before its rows have come":                 {2, visit, "events WHERE event_id = 'late'"},
		"a step of membership, before ClickHouse knows of it": {1, step, "membership_changes"},
	} {
		t.Run(name, func(t *testing.T) {
			direct := enginetest.ClickHouse(t)
			network, dsn := behindProxy(t, direct+"?receive_timeout=3")
			first := attach(t, dsn)
			var over atomic.Bool
			require.NoError(t, first.Write(t.Context(), func() error {
				if over.Load() {
					return audience.ErrFenced
				}
				return nil
			}))
			write(t, first, event("ann", "1"))
			require.Eventually(t, func() bool { return first.writer.history.Load() != nil }, time.Minute, time.Millisecond)

			kept, deliver := network.keepBack(test.chunk)
			defer deliver()
			late := make(chan error, 1)
			go func() { late <- test.write(first, false) }()
			<-kept
			over.Store(true)
			second := attach(t, direct)
			require.NoError(t, second.Write(t.Context(), func() error { return nil }))
			require.NoError(t, test.write(second, true))
			deliver()
			require.Error(t, <-late)
			require.Equal(t, 1, count(t, second, test.rows))
		})
	}
}

func attach(t *testing.T, dsn string) *Store {
	t.Helper()
	store, err := Attach(t.Context(), Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestNoVersionIsGivenTwice: what a training of a paused process writes late is in no version that another trains.
func TestNoVersionIsGivenTwice(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	paused := reopen(t, dsn)
	number, err := paused.NextModelVersion(t.Context(), 7)
	require.NoError(t, err)
	next, err := reopen(t, dsn).NextModelVersion(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 2}, []uint32{number, next})
}
