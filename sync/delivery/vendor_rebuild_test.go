package delivery_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// timed is a vendor whose platform has a clock that can be put forward.
func timed(t *testing.T, platform audience.Platform) (v *vendor, forward func(time.Duration)) {
	var ahead time.Duration
	now := func() time.Time { return time.Now().Add(ahead) }
	box := sandbox.New(sandbox.Config{QuotasOff: true, Now: now, Meta: sandbox.MetaConfig{ReplaceTakes: 1}})
	server := httptest.NewServer(box.Handler())
	t.Cleanup(server.Close)
	secret := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	v = &vendor{sandbox: box, world: newWorld(), members: membersOf(box, platform)}
	v.world.pageUsers = 700
	log := slog.New(slog.DiscardHandler)
	var err error
	if platform == audience.PlatformMeta {
		v.client, err = meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: server.URL, TokenFile: secret("token", sandbox.DemoMetaToken),
			AppSecretFile: secret("app", sandbox.DemoMetaAppSecret), BatchRows: 250, RequestsPerSecond: 100, Now: now}, log)
		v.change = "/usersreplace"
	} else {
		v.client, err = tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: server.URL,
			TokenFile: secret("token", sandbox.DemoTikTokToken), RequestsPerSecond: 10, Now: now}, log)
		v.change = "/dmp/custom_audience/"
	}
	require.NoError(t, err)
	return v, func(d time.Duration) { ahead += d }
}

// syncBy syncs with plans of one way.
func (v *vendor) syncBy(t *testing.T, way destination.Way, run audience.RunID) (delivery.Report, error) {
	d := v.deliverer()
	d.SetPageUsers(v.world.pageUsers)
	d.SetChoose(by(way))
	return d.Sync(t.Context(), "vip", run, true, progress)
}

// others makes 300 of 1500 members leave, 600 change their e-mail, and 300 come.
func (v *vendor) others(t *testing.T) {
	for i := range 300 {
		delete(v.world.wanted, userOf(i))
		v.set(t, 300+i, "b")
		v.set(t, 900+i, "b")
		v.set(t, 1500+i, "a")
	}
}

// TestReplaceAtMeta against the stand-in: lost answers, a bad row, the time that runs out.
func TestReplaceAtMeta(t *testing.T) {
	for name, faults := range map[string][]sandbox.Fault{
		"well": nil,
		"lost answers": {{Kind: sandbox.FaultResetAfter, Path: "/usersreplace", Count: 1}, {Kind: sandbox.FaultHTTP502HTML, Path: "/usersreplace", Count: 1},
			{Kind: sandbox.FaultTruncatedJSON, Path: "/usersreplace", Count: 1}},
		"half a batch refused": {{Kind: sandbox.FaultRejectHalf, Path: "/usersreplace", Count: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			v, forward := timed(t, audience.PlatformMeta)
			for i := range 1500 {
				v.set(t, i, "a")
			}
			_, err := v.syncBy(t, destination.ByReplace, "first")
			require.NoError(t, err)
			v.others(t)
			for _, f := range faults {
				require.NoError(t, v.sandbox.Inject(f))
			}
			report, err := v.syncBy(t, destination.ByReplace, "others")
			require.NoError(t, err)
			require.Equal(t, "replace", report.Plan.Way)
			requireSums(t, report, true)
			refused := map[audience.UserID]bool{}
			for u, row := range v.world.ledger {
				refused[u] = row.State == audience.DeliveryRejected
			}
			if name != "half a batch refused" {
				require.Equal(t, delivery.Outcome{Planned: 300, Confirmed: 300}, report.Additions)
				require.Equal(t, delivery.Outcome{Planned: 300, Confirmed: 300}, report.Removals)
				require.Equal(t, delivery.Outcome{Planned: 600, Confirmed: 600}, report.Changes)
				require.Equal(t, delivery.Outcome{Planned: 600, Confirmed: 600}, report.Restored)
			}
			v.requireTarget(t, refused)
			forward(2 * time.Hour)
			v.sandbox.ClearFaults()
			report, err = v.syncBy(t, destination.ByDiff, "again")
			require.NoError(t, err)
			require.Zero(t, report.Requests)
		})
	}
}

// TestFilesAtTikTok against the stand-in: made of files, changed by files once the lock is over, and a stop by a file of its own.
func TestFilesAtTikTok(t *testing.T) {
	v, forward := timed(t, audience.PlatformTikTok)
	v.world.audience.Static = true
	for i := range 1500 {
		v.set(t, i, "a")
	}
	require.NoError(t, v.sandbox.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Path: "/dmp/custom_audience/create/", Count: 1}))
	report, err := v.syncBy(t, destination.ByFile, "first")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 1500, Confirmed: 1500}, report.Additions)
	require.True(t, v.world.audience.PlatformFiles)
	require.Len(t, v.sandbox.TikTok().Audiences(), 1, "a lost answer makes no second one")
	require.Empty(t, v.members(v.world.audience.PlatformID), "the platform takes them in for hours")
	forward(49 * time.Hour)
	v.requireTarget(t, nil)

	v.others(t)
	report, err = v.syncBy(t, destination.ByFile, "others")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 300, Confirmed: 300}, report.Removals)
	require.Equal(t, delivery.Outcome{Planned: 600, Confirmed: 600}, report.Changes)
	forward(49 * time.Hour)
	v.requireTarget(t, nil)

	d := v.deliverer()
	require.NoError(t, d.Stop(t.Context(), stop(userOf(301))))
	_, err = v.syncBy(t, destination.ByFile, "stop")
	require.NoError(t, err)
	forward(49 * time.Hour)
	v.requireTarget(t, nil)

	require.NoError(t, d.Retire(t.Context(), "vip"))
	require.True(t, v.sandbox.TikTok().Audiences()[0].Deleted)
}

// TestVanishedAtVendors: an audience that somebody deleted in the platform's own interface is told from one that is out of
// reach, stays away until a person orders a new one, and then gets all members.
func TestVanishedAtVendors(t *testing.T) {
	for _, platform := range []audience.Platform{audience.PlatformMeta, audience.PlatformTikTok} {
		t.Run(string(platform), func(t *testing.T) {
			v, forward := timed(t, platform)
			for i := range 50 {
				v.set(t, i, "a")
			}
			_, err := v.sync(t, "first")
			require.NoError(t, err)
			forward(time.Hour)
			require.ErrorIs(t, v.deliverer().Recreate(t.Context(), "vip", "too early"), audience.ErrPrecondition)
			if id := v.world.audience.PlatformID; platform == audience.PlatformMeta {
				require.NoError(t, v.sandbox.Meta().SetState(id, sandbox.StateDeleted))
			} else {
				require.NoError(t, v.sandbox.TikTok().SetDeleted(id))
			}
			_, err = v.sync(t, "vanished")
			var failure *destination.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, destination.Gone, failure.Kind)
			require.Contains(t, failure.Remedy, "recreate")
			require.NoError(t, v.deliverer().Recreate(t.Context(), "vip", "anew"))
			_, err = v.sync(t, "anew")
			require.NoError(t, err)
			v.requireTarget(t, nil)
		})
	}
}
