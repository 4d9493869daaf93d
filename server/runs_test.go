package server_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func TestTokensAreBoundToTheirFilter(t *testing.T) {
	h := start(t, server.Config{})
	for i := range 3 {
		_, err := h.Train(t.Context(), audience.Model{ID: audience.ModelID(fmt.Sprint("m", i))})
		require.NoError(t, err)
	}
	first, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, Kind: audiencev1.Run_KIND_TRAIN})
	require.NoError(t, err)
	require.Len(t, first.GetRuns(), 2)
	require.Equal(t, "models/m2", first.GetRuns()[0].GetSubject(), "newest first")
	second, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, Kind: audiencev1.Run_KIND_TRAIN, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, second.GetRuns(), 1)
	require.Empty(t, second.GetNextPageToken())
	_, err = h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{PageSize: 2, PageToken: first.GetNextPageToken()})
	requireInvalid(t, err, "page_token")
	_, err = h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Kind: 99, State: 99, PageSize: -1})
	requireInvalid(t, err, "kind", "state", "page_size")
}

func TestLongWorkAnswersWithARun(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	h.createSegment(t, "vip", "x")
	h.createAudience(t)

	train, err := h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_RUNNING, train.GetRun().GetState())
	require.Equal(t, audiencev1.Run_KIND_TRAIN, train.GetRun().GetKind())
	_, err = h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	d := requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	require.Contains(t, d.message, train.GetRun().GetName())
	_, err = h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/none"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)

	evaluate, err := h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{UserIds: []string{"b", "a", "b"}})
	require.NoError(t, err)
	h.endRun(evaluate.GetRun().GetName(), audience.RunSucceeded)
	_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{})
	require.NoError(t, err)
	_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{UserIds: users(10_001)})
	requireInvalid(t, err, "user_ids")
	require.Equal(t, []string{"train models/rfm ", `evaluate segments ["a" "b"] false`, `evaluate segments [] true`}, h.started)

	request := &audiencev1.StartSyncRequest{Name: "audiences/vip-meta", RequestId: uuid.NewString()}
	first, err := h.destination.StartSync(t.Context(), request)
	require.NoError(t, err)
	again, err := h.destination.StartSync(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, first.GetRun().GetName(), again.GetRun().GetName(), "a repeat gets the same run")
}

func TestRuns(t *testing.T) {
	h := start(t, server.Config{})
	h.createModel(t, "rfm", rfm())
	train, err := h.model.TrainModel(t.Context(), &audiencev1.TrainModelRequest{Name: "models/rfm"})
	require.NoError(t, err)
	name := train.GetRun().GetName()

	watch, err := h.run.WatchRun(t.Context(), &audiencev1.WatchRunRequest{Name: name})
	require.NoError(t, err)
	seen, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_STATE_RUNNING, seen.GetRun().GetState())
	_, err = h.run.CancelRun(t.Context(), &audiencev1.CancelRunRequest{Name: name})
	require.NoError(t, err)
	h.endRun(name, audience.RunCancelled)
	for err == nil {
		var next *audiencev1.WatchRunResponse
		if next, err = watch.Recv(); err == nil {
			seen = next
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, audiencev1.Run_STATE_CANCELLED, seen.GetRun().GetState(), "the end is never missed")
	got, err := h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: name})
	require.NoError(t, err)
	require.NotNil(t, got.GetRun().GetEndTime())

	for _, bad := range []string{"", "runs/", "runs/1", "models/rfm"} {
		_, err = h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: bad})
		requireInvalid(t, err, "name")
	}
	_, err = h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: "runs/" + uuid.NewString()})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

// TestEveryStateAndKindHasAWord: what the rooms write is what callers read, both ways.
func TestEveryStateAndKindHasAWord(t *testing.T) {
	h := start(t, server.Config{})
	for _, state := range []audience.RunState{audience.RunQueued, audience.RunRunning, audience.RunSucceeded, audience.RunFailed, audience.RunCancelled, audience.RunHeld} {
		for _, kind := range []audience.RunKind{audience.RunTrain, audience.RunEvaluate, audience.RunSync} {
			id := audience.RunID(uuid.NewString())
			h.runs[id] = audience.Run{ID: id, State: state, Kind: kind}
			got, err := h.run.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: "runs/" + string(id)})
			require.NoError(t, err)
			require.Equal(t, "STATE_"+strings.ToUpper(string(state)), got.GetRun().GetState().String())
			require.Equal(t, "KIND_"+strings.ToUpper(string(kind)), got.GetRun().GetKind().String())
			list, err := h.run.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Kind: got.GetRun().GetKind(), State: got.GetRun().GetState()})
			require.NoError(t, err)
			require.Len(t, list.GetRuns(), 1)
		}
	}
}
