package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// leases give the world's audience to whoever asks: the holder before is taken for dead.
type leases struct{ *world }

func (l leases) Take(context.Context, audience.Audience) (delivery.Lease, error) {
	l.fence++
	return &lease{world: l.world, fence: l.fence}, l.step()
}

type lease struct {
	world  *world
	fence  uint64
	writes uint64
}

func (l *lease) Check() error {
	if l.fence != l.world.fence {
		return audience.ErrFenced
	}
	return nil
}

func (l *lease) Version() uint64 {
	l.writes++
	return 1000*l.fence + l.writes
}

func (l *lease) Abandoned() bool { return true }

func (l *lease) Release() {}
func (l *lease) Abandon() {}

// replica is one of several processes in the world.
func (w *world) replica() *delivery.Deliverer {
	d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Leases: leases{w}, Log: slog.New(slog.DiscardHandler),
		Connect: func(audience.Destination) (destination.Destination, error) { return connection{w.platform, w}, nil }})
	d.SetPageUsers(3)
	return d
}

// A holder is paused before each effect it ever has, in turn. Meanwhile the target changes and another process syncs; then
// the paused one goes on, and what it was about to do happens, late. Or it is dead, and what had left it happens, late. After
// one more sync, in the latter case once no request of the dead one can be carried out any more, the platform holds the target,
// and nobody else.
func TestPausedHolderLeavesNothingWrong(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("dies %t", dies), func(t *testing.T) { pauseHolders(t, dies) })
	}
}

func pauseHolders(t *testing.T, dies bool) {
	const users = 9
	family := audience.Identifier{Scheme: phones, Value: "family"}
	wanted := func(round int) map[audience.UserID][]audience.Identifier {
		target := map[audience.UserID][]audience.Identifier{}
		for i := range users {
			ids := []audience.Identifier{{Scheme: emails, Value: fmt.Sprint(i)}}
			switch {
			case (i+round)%3 == 0: // comes and goes
				continue
			case i%4 == 1: // has other identifiers each time
				ids[0].Value = fmt.Sprintf("%d/%d", i, round)
			case i%4 == 2: // leaves the platform with others who share a phone
				ids = append(ids, family)
			}
			target[audience.UserID(fmt.Sprint("u", i))] = ids
		}
		return target
	}
	fenced := 0
	for step := 1; ; step++ {
		w := newWorld()
		w.platform.rows, w.platform.together = 2, true
		w.wanted = wanted(0)
		_, err := w.replica().Sync(t.Context(), "vip", "first", true, progress)
		require.NoError(t, err)
		w.requireLaw(t)

		w.wanted = wanted(1)
		w.steps.Store(0)
		w.pauseAt, w.paused = step, func() {
			w.pauseAt = 0
			w.wanted = wanted(2)
			_, err := w.replica().Sync(t.Context(), "vip", "takes over", true, progress)
			require.NoError(t, err)
			require.Empty(t, w.platform.violated)
			w.forgetful = dies
		}
		_, err = w.replica().Sync(t.Context(), "vip", "paused", true, progress)
		w.forgetful = false
		if w.pauseAt > 0 {
			require.NoError(t, err)
			require.Positive(t, fenced, "a pause while it had the lease ends its sync")
			require.Greater(t, step, 30)
			return // it ended before the step
		}
		if errors.Is(err, audience.ErrFenced) {
			fenced++
		} else {
			require.NoError(t, err, "at step %d", step)
		}

		w.platform.violated = "" // a late request says what was right before the pause
		if dies {
			w.pass()
		}
		_, err = w.replica().Sync(t.Context(), "vip", "last", true, progress)
		require.NoError(t, err)
		require.Empty(t, w.platform.violated, "at step %d", step)
		w.requireLaw(t)
	}
}

// A holder is paused before each effect of an audience's first sync, in turn, until another has seen the audience vanish from
// the platform and has made a new one. The id of the first one does not come back.
func TestPausedHolderBringsBackNoOldID(t *testing.T) {
	for step := 1; ; step++ {
		w := newWorld()
		w.want(3, "a")
		w.pauseAt, w.paused = step, func() {
			w.pauseAt = 0
			other := w.replica()
			_, err := other.Sync(t.Context(), "vip", "takes over", true, progress)
			require.NoError(t, err)
			w.platform.vanish()
			require.NoError(t, other.Recreate(t.Context(), "vip", "anew"))
			_, err = other.Sync(t.Context(), "vip", "anew", true, progress)
			require.NoError(t, err)
		}
		_, _ = w.replica().Sync(t.Context(), "vip", "paused", true, progress)
		if w.pauseAt > 0 {
			require.Greater(t, step, 10)
			return // it ended before the step
		}
		require.Equal(t, w.platform.id, w.audience.PlatformID, "at step %d", step)
		_, err := w.replica().Sync(t.Context(), "vip", "last", true, progress)
		require.NoError(t, err, "at step %d", step)
		w.requireLaw(t)
	}
}
