package server_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// TestAudiencesWithValues: their expression is checked, and whether there is one is decided for life.
func TestAudiencesWithValues(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createSegment(t, "rich", "x")
	plain := h.createAudience(t)
	_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{
		DestinationId: "tiktok", Destination: &audiencev1.Destination{Platform: audiencev1.Destination_PLATFORM_TIKTOK, Account: "7", TokenSecret: "t"},
	})
	require.NoError(t, err)
	create := func(id, destination, value string, tolerance float64) (*audiencev1.Audience, error) {
		answer, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{AudienceId: id, Audience: &audiencev1.Audience{
			Segment: "segments/vip", Destination: destination, Value: value, ValueTolerance: tolerance,
		}})
		return answer.GetAudience(), err
	}
	update := func(a *audiencev1.Audience, mask ...string) error {
		_, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: a, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
		return err
	}
	valued, err := create("worth", "destinations/meta", "in:rich", 0.1)
	require.NoError(t, err)
	require.Equal(t, "in:rich", valued.GetValue())
	require.InDelta(t, 0.1, valued.GetValueTolerance(), 0)

	for _, c := range []struct {
		name, destination, value string
		tolerance                float64
		field                    string
	}{
		{"a bad expression", "destinations/meta", "a bad one", 0, "audience.value"},
		{"at TikTok", "destinations/tiktok", "x", 0, "audience.value"},
		{"more than all of it", "destinations/meta", "x", 1.5, "audience.value_tolerance"},
		{"no share", "destinations/meta", "x", math.NaN(), "audience.value_tolerance"},
		{"a tolerance of nothing", "destinations/meta", "", 0.1, "audience.value_tolerance"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := create("other", c.destination, c.value, c.tolerance)
			requireInvalid(t, err, c.field)
		})
	}

	requireInvalid(t, update(&audiencev1.Audience{Name: plain.GetName(), Value: "x"}), "audience.value")
	requireInvalid(t, update(&audiencev1.Audience{Name: valued.GetName()}, "value"), "audience.value")
	require.NoError(t, update(&audiencev1.Audience{Name: valued.GetName(), Value: "in:rich"}))

	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/rich"})
	d := requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Contains(t, d.message, "audiences/worth")
	h.createModel(t, "clusters", rfm())
	require.NoError(t, update(&audiencev1.Audience{Name: valued.GetName(), Value: "rfm:clusters"}))
	_, err = h.model.DeleteModel(t.Context(), &audiencev1.DeleteModelRequest{Name: "models/clusters"})
	d = requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Contains(t, d.message, "audiences/worth")
}
