package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// hold makes a run's plan the one that waits.
func (w *world) hold(run string, until time.Time) {
	w.held = audience.HeldPlan{Run: audience.RunID(strings.TrimPrefix(run, "runs/")), State: audience.HeldWaiting,
		Plan: audience.SyncPlan{Removals: 7, Stops: 2, Way: "diff", WayReason: "figures", Hold: []string{"too many"}}, Time: until.Add(-24 * time.Hour), Expires: until}
}

func (w *world) HeldPlan(context.Context, audience.AudienceID) (audience.HeldPlan, error) {
	return w.held, nil
}

func (w *world) Drop(_ context.Context, id audience.AudienceID) error {
	if w.held.State != audience.HeldWaiting {
		return fmt.Errorf("audience %s has no held plan to drop: %w", id, audience.ErrPrecondition)
	}
	w.held.State = audience.HeldDropped
	return nil
}

// TestHeldSyncs: what waits shows with its plan, until it is dropped or its time is over; then it can be decided on no more.
func TestHeldSyncs(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	run, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	name := run.GetRun().GetName()
	h.endRun(name, audience.RunHeld)
	list := func() []*audiencev1.HeldSync {
		held, err := h.destination.ListHeldSyncs(t.Context(), &audiencev1.ListHeldSyncsRequest{})
		require.NoError(t, err)
		return held.GetHeldSyncs()
	}
	decide := func() (approved, dropped error) {
		_, approved = h.destination.ApproveSync(t.Context(), &audiencev1.ApproveSyncRequest{Run: name})
		_, dropped = h.destination.DropSync(t.Context(), &audiencev1.DropSyncRequest{Run: name})
		return approved, dropped
	}
	refused := func(words string) {
		t.Helper()
		approved, dropped := decide()
		for _, err := range []error{approved, dropped} {
			d := requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
			require.Equal(t, "NOT_HELD", d.precondition.GetViolations()[0].GetType())
			require.Contains(t, d.message, words)
		}
	}
	require.Empty(t, list())
	refused("later sync")

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	h.hold(name, until)
	held := list()
	require.Len(t, held, 1)
	require.Equal(t, []string{"audiences/vip-meta", name}, []string{held[0].GetAudience(), held[0].GetRun()})
	require.Equal(t, []int64{7, 2}, []int64{held[0].GetPlan().GetRemovalCount(), held[0].GetPlan().GetStopCount()})
	require.Equal(t, []string{"figures", "too many"}, append([]string{held[0].GetPlan().GetWayReason()}, held[0].GetPlan().GetHoldReasons()...))
	require.Equal(t, until, held[0].GetExpireTime().AsTime())

	h.hold(name, time.Now().Add(-time.Second))
	require.Empty(t, list())
	refused("its plan has expired")
	h.hold("runs/"+uuid.NewString(), until)
	refused("later sync")
	h.hold(name, until)
	_, err = h.destination.DropSync(t.Context(), &audiencev1.DropSyncRequest{Run: name})
	require.NoError(t, err)
	require.Empty(t, list())
	refused("already dropped")
}

// TestPolicies: what an audience says of guards and groups is kept, and bad values are refused by field.
func TestPolicies(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	name := h.createAudience(t).GetName()
	update := func(a *audiencev1.Audience) (*audiencev1.Audience, error) {
		a.Name = name
		r, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: a})
		return r.GetAudience(), err
	}
	changed, err := update(&audiencev1.Audience{ExclusiveGroup: "offers", MaxSourceAge: durationpb.New(36 * time.Hour), Static: true})
	require.NoError(t, err)
	require.Equal(t, "offers", changed.GetExclusiveGroup())
	require.Equal(t, 36*time.Hour, changed.GetMaxSourceAge().AsDuration())
	require.True(t, changed.GetStatic())
	stored, err := h.audiences.Get(t.Context(), "vip-meta")
	require.NoError(t, err)
	require.InDelta(t, 36, stored.MaxSourceHours, 0)
	for _, bad := range []*audiencev1.Audience{
		{ExclusiveGroup: "Two Words", MaxSourceAge: durationpb.New(-time.Hour)},
		{ExclusiveGroup: "-", MaxSourceAge: durationpb.New(1000 * 24 * time.Hour)},
	} {
		_, err := update(bad)
		requireInvalid(t, err, "audience.exclusive_group", "audience.max_source_age")
	}
}
