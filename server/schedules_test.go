package server_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func TestSchedulesOfAudiencesAndModels(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	update := func(a *audiencev1.Audience, fields ...string) (*audiencev1.Audience, error) {
		a.Name = "audiences/vip-meta"
		r, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: a, UpdateMask: &fieldmaskpb.FieldMask{Paths: fields}})
		return r.GetAudience(), err
	}
	want := &audiencev1.Schedule{Cron: "@daily", TimeZone: "Europe/Warsaw", Jitter: durationpb.New(time.Minute), OnChange: durationpb.New(time.Hour)}
	changed, err := update(&audiencev1.Audience{Schedule: want}, "schedule")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, changed.GetSchedule(), protocmp.Transform()))
	require.Equal(t, 2030, changed.GetNextSyncTime().AsTime().Year())
	changed, err = update(&audiencev1.Audience{Disabled: true}, "disabled")
	require.NoError(t, err)
	require.Nil(t, changed.GetNextSyncTime(), "what is disabled is not due")
	_, err = update(&audiencev1.Audience{Schedule: &audiencev1.Schedule{Cron: "often"}}, "schedule")
	requireInvalid(t, err, "audience.schedule.cron")
	_, err = update(&audiencev1.Audience{Schedule: &audiencev1.Schedule{Cron: "@daily", Jitter: &durationpb.Duration{Seconds: 1, Nanos: -1}}}, "schedule")
	requireInvalid(t, err, "audience.schedule.jitter")
	_, err = update(&audiencev1.Audience{Static: true}, "static")
	requireInvalid(t, err, "audience.schedule.on_change")
	changed, err = update(&audiencev1.Audience{}, "schedule")
	require.NoError(t, err)
	require.Nil(t, changed.GetSchedule(), "it is taken away")

	h.createModel(t, "rfm", rfm())
	train := func(s *audiencev1.Schedule) (*audiencev1.Model, error) {
		r, err := h.model.UpdateModel(t.Context(), &audiencev1.UpdateModelRequest{Model: &audiencev1.Model{Name: "models/rfm", Schedule: s}})
		return r.GetModel(), err
	}
	model, err := train(&audiencev1.Schedule{Cron: "@daily"})
	require.NoError(t, err)
	require.Equal(t, "@daily", model.GetSchedule().GetCron())
	require.Equal(t, 2030, model.GetNextTrainTime().AsTime().Year())
	_, err = train(&audiencev1.Schedule{OnChange: durationpb.New(time.Hour)})
	requireInvalid(t, err, "model.schedule.on_change")
}

func TestResumeRun(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	begun, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	name := begun.GetRun().GetName()
	resume := func() (*audiencev1.Run, error) {
		r, err := h.run.ResumeRun(t.Context(), &audiencev1.ResumeRunRequest{Name: name})
		return r.GetRun(), err
	}
	for _, state := range []audience.RunState{audience.RunRunning, audience.RunSucceeded, audience.RunHeld} {
		h.endRun(name, state)
		_, err = resume()
		requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	}
	for _, state := range []audience.RunState{audience.RunFailed, audience.RunCancelled, audience.RunInterrupted} {
		h.endRun(name, state)
		again, err := resume()
		require.NoError(t, err)
		require.Equal(t, "audiences/vip-meta", again.GetSubject())
		require.NotEqual(t, name, again.GetName())
		h.endRun(again.GetName(), audience.RunSucceeded)
	}
	_, err = h.run.ResumeRun(t.Context(), &audiencev1.ResumeRunRequest{Name: "runs/x"})
	requireInvalid(t, err, "name")
}
