package server_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// TestHealthOfADestination shows wherever the destination does, and only the service sets it.
func TestHealthOfADestination(t *testing.T) {
	h := start(t, server.Config{})
	created, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{DestinationId: "meta", Destination: &audiencev1.Destination{
		Platform: audiencev1.Destination_PLATFORM_META, Account: "1", TokenSecret: "env:META", ApiVersion: "v25.0", Columns: []string{"EMAIL"},
	}})
	require.NoError(t, err)
	require.Equal(t, audiencev1.Destination_STATE_UNSPECIFIED, created.GetDestination().GetState())
	require.Equal(t, []string{"v25.0", "EMAIL"}, []string{created.GetDestination().GetApiVersion(), created.GetDestination().GetColumns()[0]})
	require.Equal(t, 1, h.office.looks)

	h.office.health = audience.Health{State: audience.HealthWaiting, Trouble: "the token was revoked", Remedy: "renew it", Since: time.Unix(5, 0), Warnings: []string{"v25.0 ends"}}
	get, err := h.destination.GetDestination(t.Context(), &audiencev1.GetDestinationRequest{Name: "destinations/meta"})
	require.NoError(t, err)
	list, err := h.destination.ListDestinations(t.Context(), &audiencev1.ListDestinationsRequest{})
	require.NoError(t, err)
	check, err := h.destination.CheckDestination(t.Context(), &audiencev1.CheckDestinationRequest{Name: "destinations/meta"})
	require.NoError(t, err)
	for _, d := range []*audiencev1.Destination{get.GetDestination(), list.GetDestinations()[0], check.GetDestination()} {
		require.Equal(t, audiencev1.Destination_STATE_WAITING, d.GetState())
		require.Equal(t, []string{"the token was revoked", "renew it", "v25.0 ends"}, append([]string{d.GetTrouble(), d.GetRemedy()}, d.GetWarnings()...))
		require.Equal(t, int64(5), d.GetTroubleTime().GetSeconds())
	}
	require.Equal(t, int64(7), check.GetDestination().GetCheckTime().GetSeconds())
	_, err = h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{
		Destination: &audiencev1.Destination{Name: "destinations/meta"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"state", "remedy"}}})
	requireInvalid(t, err, "update_mask", "update_mask")
}

// TestSettingsOfOnePlatform are refused at the other.
func TestSettingsOfOnePlatform(t *testing.T) {
	h := start(t, server.Config{})
	for platform, fields := range map[audiencev1.Destination_Platform][]string{
		audiencev1.Destination_PLATFORM_META:   {"destination.email_mode", "destination.app"},
		audiencev1.Destination_PLATFORM_TIKTOK: {"destination.app_secret", "destination.api_version", "destination.columns", "destination.app"},
	} {
		_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{DestinationId: "d", Destination: &audiencev1.Destination{
			Platform: platform, Account: "1", TokenSecret: "t", AppSecret: "s", EmailMode: audiencev1.Destination_EMAIL_MODE_BASIC, ApiVersion: "v26.0",
			Columns: []string{"EMAIL"}, App: "my app",
		}})
		requireInvalid(t, err, fields...)
	}
}
