package server_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// createAudience makes destinations/meta and audiences/vip-meta of segments/vip, which must exist.
func (h *harness) createAudience(t *testing.T) *audiencev1.Audience {
	t.Helper()
	_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{
		DestinationId: "meta", Destination: &audiencev1.Destination{Platform: audiencev1.Destination_PLATFORM_META, Account: "123", TokenSecret: "meta.token"},
	})
	require.NoError(t, err)
	answer, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{
		AudienceId: "vip-meta", Audience: &audiencev1.Audience{Segment: "segments/vip", Destination: "destinations/meta"},
	})
	require.NoError(t, err)
	return answer.GetAudience()
}

func TestBadDestinationsAndAudiences(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	target := h.createAudience(t)
	good := func() *audiencev1.Destination {
		return &audiencev1.Destination{Platform: audiencev1.Destination_PLATFORM_META, Account: "1", TokenSecret: "t"}
	}
	destinations := []struct {
		name   string
		change func(*audiencev1.Destination)
		fields []string
	}{
		{"nothing set", func(d *audiencev1.Destination) { *d = audiencev1.Destination{} }, []string{"platform", "account", "token_secret"}},
		{"account with act_", func(d *audiencev1.Destination) { d.Account = "act_1" }, []string{"account"}},
		{"secret outside its directory", func(d *audiencev1.Destination) { d.TokenSecret, d.AppSecret = "../token", "/etc/passwd" }, []string{"token_secret", "app_secret"}},
		{"Meta with an e-mail mode", func(d *audiencev1.Destination) { d.EmailMode = audiencev1.Destination_EMAIL_MODE_BASIC }, []string{"email_mode"}},
		{"TikTok with an app secret", func(d *audiencev1.Destination) {
			d.Platform, d.AppSecret = audiencev1.Destination_PLATFORM_TIKTOK, "s"
		}, []string{"app_secret"}},
		{"what its connector refuses", func(d *audiencev1.Destination) { d.RequestsPerSecond = 100.5 }, []string{"requests_per_second"}},
	}
	for _, c := range destinations {
		t.Run(c.name, func(t *testing.T) {
			d := good()
			c.change(d)
			_, err := h.destination.CreateDestination(t.Context(), &audiencev1.CreateDestinationRequest{DestinationId: "d", Destination: d})
			for i, field := range c.fields {
				c.fields[i] = "destination." + field
			}
			requireInvalid(t, err, c.fields...)
		})
	}
	t.Run("another account", func(t *testing.T) {
		_, err := h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{Destination: &audiencev1.Destination{Name: "destinations/meta", Account: "2"}})
		requireInvalid(t, err, "destination.account")
	})
	t.Run("a rate its connector refuses", func(t *testing.T) {
		_, err := h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{Destination: &audiencev1.Destination{Name: "destinations/meta", RequestsPerSecond: 101}})
		requireInvalid(t, err, "destination.requests_per_second")
	})
	t.Run("a better token", func(t *testing.T) {
		answer, err := h.destination.UpdateDestination(t.Context(), &audiencev1.UpdateDestinationRequest{Destination: &audiencev1.Destination{Name: "destinations/meta", TokenSecret: "new.token"}})
		require.NoError(t, err)
		require.Equal(t, "123", answer.GetDestination().GetAccount())
	})
	t.Run("audience of nothing", func(t *testing.T) {
		_, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{AudienceId: "a", Audience: &audiencev1.Audience{
			MaxRemovalShare: math.NaN(), PlatformName: strings.Repeat("n", 51), Purpose: strings.Repeat("p", 65),
		}})
		requireInvalid(t, err, "audience.segment", "audience.destination", "audience.max_removal_share", "audience.platform_name", "audience.purpose")
	})
	t.Run("audience of what is not there", func(t *testing.T) {
		_, err := h.destination.CreateAudience(t.Context(), &audiencev1.CreateAudienceRequest{AudienceId: "a", Audience: &audiencev1.Audience{
			Segment: "segments/none", Destination: "destinations/none",
		}})
		requireInvalid(t, err, "audience.segment", "audience.destination")
	})
	t.Run("audience moved to another destination", func(t *testing.T) {
		_, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: &audiencev1.Audience{Name: target.GetName(), Destination: "destinations/other"}})
		requireInvalid(t, err, "audience.destination")
	})
	t.Run("what the service set stays", func(t *testing.T) {
		stored, err := h.audiences.Get(t.Context(), "vip-meta")
		require.NoError(t, err)
		stored.PlatformID = "2384"
		_, err = h.audiences.Update(t.Context(), stored)
		require.NoError(t, err)
		answer, err := h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{
			Audience: &audiencev1.Audience{Name: target.GetName(), MaxRemovalShare: 0.5, Static: true, PlatformId: "forged", MadeOfFiles: true},
		})
		require.NoError(t, err)
		require.Equal(t, "2384", answer.GetAudience().GetPlatformId())
		require.True(t, answer.GetAudience().GetStatic())
		require.False(t, answer.GetAudience().GetMadeOfFiles())
	})
}

func TestApproval(t *testing.T) {
	h := start(t, server.Config{})
	h.ahead = time.Hour
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	h.plan = audience.SyncPlan{Members: 9, Unchanged: 1, Additions: 2, Removals: 3, Changes: 4, Suppressed: map[string]int64{"no_consent": 5},
		Stops: 8, Way: "replace", WayReason: "figures", Requests: 6, Duration: 7 * time.Second, Hold: []string{"removes 75 % of what is held"}}
	plan, err := h.destination.PlanSync(t.Context(), &audiencev1.PlanSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	require.Equal(t, []string{"removes 75 % of what is held"}, plan.GetPlan().GetHoldReasons())
	require.Equal(t, audiencev1.SyncPlan_WAY_REPLACE, plan.GetPlan().GetWay())
	require.Equal(t, "figures", plan.GetPlan().GetWayReason())
	require.WithinRange(t, plan.GetPlan().GetFinishTime().AsTime(), time.Now().Add(h.ahead), time.Now().Add(h.ahead+7*time.Second))
	require.Equal(t, []int64{9, 1, 2, 3, 8, 4, 5, 6, 7}, []int64{
		plan.GetPlan().GetMemberCount(), plan.GetPlan().GetUnchangedCount(), plan.GetPlan().GetAdditionCount(), plan.GetPlan().GetRemovalCount(), plan.GetPlan().GetStopCount(),
		plan.GetPlan().GetChangeCount(), plan.GetPlan().GetSuppressedCounts()["no_consent"], plan.GetPlan().GetRequestCount(), plan.GetPlan().GetSendDuration().GetSeconds(),
	})

	anew, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta", Recreate: true})
	require.NoError(t, err)
	require.Equal(t, []string{"sync audiences/vip-meta false recreate"}, h.started)
	h.endRun(anew.GetRun().GetName(), audience.RunSucceeded)
	h.started = nil

	sync, err := h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	require.NoError(t, err)
	approve := func() error {
		_, err := h.destination.ApproveSync(t.Context(), &audiencev1.ApproveSyncRequest{Run: sync.GetRun().GetName()})
		return err
	}
	requireStatus(t, approve(), codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	h.endRun(sync.GetRun().GetName(), audience.RunHeld)
	h.hold(sync.GetRun().GetName(), time.Now().Add(time.Hour))
	require.NoError(t, approve())
	require.Equal(t, []string{"sync audiences/vip-meta false", "sync audiences/vip-meta true"}, h.started)
	d := requireStatus(t, approve(), codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	require.Contains(t, d.message, "under way")

	_, err = h.destination.UpdateAudience(t.Context(), &audiencev1.UpdateAudienceRequest{Audience: &audiencev1.Audience{Name: "audiences/vip-meta", Disabled: true}})
	require.NoError(t, err)
	_, err = h.destination.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/vip-meta"})
	d = requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Equal(t, "DISABLED", d.precondition.GetViolations()[0].GetType())
}
