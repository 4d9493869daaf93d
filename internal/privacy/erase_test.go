package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/privacy"
	"github.com/kohorta/kohorta/internal/run"
)

// house is everything an Eraser works with, in memory. It remembers what was done, in order.
type house struct {
	*run.Runner
	mu      sync.Mutex
	done    []string
	pending map[audience.UserID]audience.Erasure
	runs    map[audience.RunID]audience.Run
	faults  map[string]int                   // times that a step fails
	away    map[audience.DestinationID]error // why a destination confirms nothing
}

func newHouse() *house {
	h := &house{pending: map[audience.UserID]audience.Erasure{}, runs: map[audience.RunID]audience.Run{}, faults: map[string]int{}, away: map[audience.DestinationID]error{}}
	h.Runner = run.New(run.Deps{Store: h, Log: slog.New(slog.DiscardHandler), Grace: time.Second})
	return h
}

func (h *house) eraser() *privacy.Eraser {
	return privacy.New(privacy.Deps{Store: h, Membership: h, Platforms: platforms{h}, Runs: h.Runner, Log: slog.New(slog.DiscardHandler)})
}

func (h *house) step(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faults[what] > 0 {
		h.faults[what]--
		return errors.New(what + " fails")
	}
	h.done = append(h.done, what)
	return nil
}

func (h *house) steps() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.done)
}

func (h *house) BeginErasure(_ context.Context, user audience.UserID) (audience.Erasure, error) {
	erasure := audience.Erasure{ID: "0123", User: user, State: audience.ErasurePending}
	err := h.step("begin")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending[user] = erasure
	return erasure, err
}

func (h *house) PendingErasures(context.Context) (pending []audience.Erasure, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, erasure := range h.pending {
		pending = append(pending, erasure)
	}
	return pending, nil
}

func (h *house) DeleteUser(context.Context, audience.UserID) error       { return h.step("delete") }
func (h *house) Forget(context.Context, audience.UserID) error           { return h.step("forget") }
func (h *house) DeleteMembership(context.Context, audience.UserID) error { return h.step("membership") }
func (h *house) DeleteLedger(context.Context, audience.UserID) error     { return h.step("ledger") }

func (h *house) Purge(context.Context) error { return h.step("purge") }

func (h *house) EndErasure(_ context.Context, erasure audience.Erasure) error {
	err := h.step("end")
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.pending, erasure.User)
	}
	return err
}

func (h *house) PutRun(_ context.Context, run audience.Run) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runs[run.ID] = run
	return nil
}

func (h *house) GetRun(_ context.Context, id audience.RunID) (audience.Run, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.runs[id], nil
}

func (h *house) ListRuns(_ context.Context, filter audience.RunFilter, _ audience.RunID, _ int) (list []audience.Run, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, run := range h.runs {
		if (filter.Kind == "" || run.Kind == filter.Kind) && (filter.State == "" || run.State == filter.State) && (filter.Subject == "" || run.Subject == filter.Subject) {
			list = append(list, run)
		}
	}
	return list, nil
}

// platforms are two destinations.
type platforms struct{ *house }

func (p platforms) Stop(_ context.Context, stops []audience.Stop) error {
	return p.step(fmt.Sprintf("stop %s", stops[0].Reason))
}

func (p platforms) Destinations(context.Context) ([]audience.Destination, error) {
	return []audience.Destination{{ID: "meta"}, {ID: "tiktok"}}, nil
}

func (p platforms) Erase(_ context.Context, at audience.Destination, _ audience.UserID, _ []audience.Identifier) (string, error) {
	p.mu.Lock()
	away := p.away[at.ID]
	p.mu.Unlock()
	if away != nil {
		return "", away
	}
	return "nobody holds her", p.step("confirm " + string(at.ID))
}

var whole = []string{"begin", "stop erased", "stop erased", "delete", "forget", "membership", "confirm", "confirm",
	"delete", "forget", "membership", "ledger", "end"}

// told shortens the steps to their first word where the order of destinations is open.
func told(steps []string) (short []string) {
	for _, step := range steps {
		if len(step) > 7 && step[:7] == "confirm" {
			step = "confirm"
		}
		short = append(short, step)
	}
	return short
}

func (h *house) await(t *testing.T, id audience.RunID) audience.Run {
	t.Helper()
	var last audience.Run
	for run, err := range h.Watch(t.Context(), id) {
		require.NoError(t, err)
		last = run
	}
	return last
}

// TestErasureIsCarriedThrough whatever fails: a step is repeated until it succeeds, and none is left out.
func TestErasureIsCarriedThrough(t *testing.T) {
	for _, fails := range []string{"", "delete", "forget", "membership", "confirm meta", "ledger", "end"} {
		t.Run("failing "+fails, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				h.faults[fails] = 3
				begun, err := h.eraser().Erase(t.Context(), "ann")
				require.NoError(t, err)
				require.Equal(t, "erasures/0123", begun.Subject)
				run := h.await(t, begun.ID)
				require.Equal(t, audience.RunSucceeded, run.State)
				steps := told(h.steps())
				require.Equal(t, whole[:3], steps[:3])
				require.Subset(t, steps, whole)
				require.Equal(t, []string{"ledger", "end"}, steps[len(steps)-2:])
				require.Subset(t, run.Notes, []string{"destinations/meta: nobody holds her", "destinations/tiktok: nobody holds her"})
				if fails == "" {
					require.Equal(t, whole, steps)
				}
			})
		})
	}
}

// TestAPlatformAwayKeepsNothingHere: what is stored is deleted all the same, the other platform confirms, and the ledger stays as
// long as it may be needed.
func TestAPlatformAwayKeepsNothingHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.away["meta"] = errors.New("it does not answer")
		begun, err := h.eraser().Erase(t.Context(), "ann")
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		require.Equal(t, []string{"begin", "stop erased", "stop erased", "delete", "forget", "membership", "confirm tiktok"}, h.steps())
		run, err := h.Get(t.Context(), begun.ID)
		require.NoError(t, err)
		require.Equal(t, "waiting for destinations/meta: it does not answer", run.Stage)
		again, err := h.eraser().Erase(t.Context(), "ann")
		require.NoError(t, err)
		require.Equal(t, begun.ID, again.ID)
		h.mu.Lock()
		delete(h.away, "meta")
		h.mu.Unlock()
		require.Equal(t, audience.RunSucceeded, h.await(t, begun.ID).State)
		require.Empty(t, h.pending)
	})
}

// TestATrainingUnderWayIsWaitedFor: it has read of the user, and writes her score at its end.
func TestATrainingUnderWayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		release := make(chan struct{})
		_, err := h.Start(t.Context(), audience.RunTrain, "models/rfm", func(context.Context, *run.Task) error {
			<-release
			return h.step("trained")
		})
		require.NoError(t, err)
		time.Sleep(time.Second)
		begun, err := h.eraser().Erase(t.Context(), "ann")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NotContains(t, h.steps(), "ledger")
		close(release)
		require.Equal(t, audience.RunSucceeded, h.await(t, begun.ID).State)
		steps := h.steps()
		require.Greater(t, lastOf(steps, "delete"), lastOf(steps, "trained"))
	})
}

func lastOf(steps []string, step string) int {
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i] == step {
			return i
		}
	}
	return -1
}

// TestPendingErasuresAreTakenUp by the next process.
func TestPendingErasuresAreTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		_, err := h.BeginErasure(t.Context(), "ann")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.eraser().Run(ctx) }()
		time.Sleep(time.Minute)
		require.Contains(t, h.steps(), "end")
		require.Empty(t, h.pending)
		before := len(h.steps())
		time.Sleep(48 * time.Hour)
		require.Equal(t, []string{"purge", "purge"}, h.steps()[before:])
		cancel()
		require.NoError(t, <-ended)
	})
}
