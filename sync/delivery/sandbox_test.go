package delivery_test

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// vendor is one platform's stand-in with its connector.
type vendor struct {
	sandbox *sandbox.Server
	client  destination.Destination
	world   *world
	change  string                   // path of the requests that change members
	members func(id string) []string // whom the platform holds, a sorted line each
}

func vendors(t *testing.T) map[string]*vendor {
	start := func() (*sandbox.Server, string) {
		s := sandbox.New(sandbox.Config{QuotasOff: true})
		server := httptest.NewServer(s.Handler())
		t.Cleanup(server.Close)
		return s, server.URL
	}
	secret := func(content string) string {
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	log := slog.New(slog.DiscardHandler)

	metaBox, url := start()
	metaClient, err := meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: url, TokenFile: secret(sandbox.DemoMetaToken),
		AppSecretFile: secret(sandbox.DemoMetaAppSecret), BatchRows: 500, RequestsPerSecond: 50}, log)
	require.NoError(t, err)
	tiktokBox, url := start()
	tiktokClient, err := tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: url,
		TokenFile: secret(sandbox.DemoTikTokToken), BatchRows: 500, RequestsPerSecond: 50}, log)
	require.NoError(t, err)
	return map[string]*vendor{
		"meta":   {sandbox: metaBox, client: metaClient, world: newWorld(), change: "/users", members: membersOf(metaBox, audience.PlatformMeta)},
		"tiktok": {sandbox: tiktokBox, client: tiktokClient, world: newWorld(), change: "/segment/mapping/", members: membersOf(tiktokBox, audience.PlatformTikTok)},
	}
}

// membersOf lists whom a stand-in holds.
func membersOf(box *sandbox.Server, platform audience.Platform) func(id string) []string {
	if platform == audience.PlatformMeta {
		return func(id string) (lines []string) {
			for _, row := range box.Meta().Members(id) {
				lines = append(lines, strings.Join(slices.Sorted(maps.Values(row.Keys)), " "))
			}
			return lines
		}
	}
	return func(id string) (lines []string) {
		for _, m := range box.TikTok().Members(id) {
			lines = append(lines, m.Hash)
		}
		return lines
	}
}

// set makes a user want his e-mail of a version and, of every third, a phone; two neighbours of those share one.
func (v *vendor) set(t *testing.T, i int, version string) {
	hasher, err := identity.NewHasher("PL")
	require.NoError(t, err)
	inputs := []identity.Input{{Field: identity.Email, Value: identity.Raw(fmt.Sprintf("user.%d.%s@example.com", i, version))}}
	if i%3 == 0 {
		inputs = append(inputs, identity.Input{Field: identity.Phone, Value: identity.Raw(fmt.Sprintf("601 %06d", i/6))})
	}
	ids, dropped := hasher.Identify(inputs)
	require.Empty(t, dropped)
	v.world.wanted[userOf(i)] = slices.DeleteFunc(ids, func(id audience.Identifier) bool { return !slices.Contains(v.client.Schemes(), id.Scheme) })
}

func userOf(i int) audience.UserID { return audience.UserID(fmt.Sprintf("u%06d", i)) }

// hexOf is an identifier as the platform shows it.
func hexOf(id audience.Identifier) string { return hex.EncodeToString([]byte(id.Value)) }

func (v *vendor) deliverer() *delivery.Deliverer {
	return delivery.New(delivery.Deps{Ledger: v.world, Catalogue: v.world, Log: slog.New(slog.DiscardHandler), Values: v.world.compile,
		Connect: func(audience.Destination) (destination.Destination, error) { return v.client, nil }})
}

func (v *vendor) sync(t *testing.T, run audience.RunID) (delivery.Report, error) {
	return v.deliverer().Sync(t.Context(), "vip", run, true, progress)
}

// requireTarget compares what the platform holds with the wanted, but for users it refuses.
func (v *vendor) requireTarget(t *testing.T, refused map[audience.UserID]bool) {
	t.Helper()
	lines := map[string]bool{}
	wanted := v.world.target()
	for u, ids := range wanted {
		if refused[u] {
			require.Equal(t, audience.DeliveryRejected, v.world.ledger[u].State)
			continue
		}
		require.Equal(t, audience.DeliveryDelivered, v.world.ledger[u].State)
		values := []string{}
		for _, id := range ids {
			values = append(values, hexOf(id))
		}
		slices.Sort(values)
		if _, rows := v.client.(*meta.Client); rows {
			values = []string{strings.Join(values, " ")}
		}
		for _, line := range values {
			lines[line] = true
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(lines)), v.members(v.world.audience.PlatformID))
	for u, row := range v.world.ledger {
		if len(wanted[u]) == 0 {
			require.False(t, row.State.MayHold())
		}
	}
}

// TestVendors takes both connectors through a first load, moves, faults and a bad row, against the stand-ins; after each
// sync that ended well the platform holds exactly the target.
func TestVendors(t *testing.T) {
	for name, v := range vendors(t) {
		t.Run(name, func(t *testing.T) {
			inject := func(f sandbox.Fault) {
				f.Platform, f.Path = name, v.change
				require.NoError(t, v.sandbox.Inject(f))
			}
			for i := range 1200 {
				v.set(t, i, "a")
			}
			inject(sandbox.Fault{Kind: sandbox.FaultHTTP502HTML, Count: 1})
			report, err := v.sync(t, "first")
			require.NoError(t, err)
			require.Equal(t, delivery.Outcome{Planned: 1200, Confirmed: 1200}, report.Additions)
			v.requireTarget(t, nil)

			for i := range 100 { // half of some pairs that share a phone leaves, others change their e-mail
				delete(v.world.wanted, userOf(6*i))
				v.set(t, 6*i+601, "b")
			}
			inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Count: 1})
			report, err = v.sync(t, "moves")
			require.NoError(t, err)
			require.Equal(t, delivery.Outcome{Planned: 100, Confirmed: 100}, report.Removals)
			require.Equal(t, delivery.Outcome{Planned: 100, Confirmed: 100}, report.Changes)
			require.Equal(t, delivery.Outcome{Planned: 100, Confirmed: 100}, report.Restored)
			v.requireTarget(t, nil)

			for i := range 50 {
				v.set(t, 2000+i, "a")
			}
			inject(sandbox.Fault{Kind: sandbox.FaultRejectValues, Values: []string{hexOf(v.world.wanted[userOf(2002)][0])}})
			report, err = v.sync(t, "bad row")
			require.NoError(t, err)
			require.Equal(t, delivery.Outcome{Planned: 50, Confirmed: 49, Rejected: 1}, report.Additions)
			v.requireTarget(t, map[audience.UserID]bool{userOf(2002): true})
			v.sandbox.ClearFaults()

			for i := range 50 {
				v.set(t, 3000+i, "a")
			}
			inject(sandbox.Fault{Kind: sandbox.FaultTokenRevoked, Count: 3}) // it is read from its file twice more
			report, err = v.sync(t, "revoked")
			var failure *destination.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, destination.Unauthorized, failure.Kind)
			require.Zero(t, report.Additions.Confirmed)
			_, err = v.sync(t, "renewed")
			require.NoError(t, err)
			v.requireTarget(t, map[audience.UserID]bool{userOf(2002): true})

			clear(v.world.wanted)
			_, err = v.sync(t, "emptied")
			require.NoError(t, err)
			require.Empty(t, v.members(v.world.audience.PlatformID))
		})
	}
}
