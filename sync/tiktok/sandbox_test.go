package tiktok_test

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// start runs a sandbox and gives a client of its demo advertiser.
func start(t *testing.T, cfg sandbox.Config, mode string) (*sandbox.Server, *tiktok.Client) {
	t.Helper()
	cfg.QuotasOff = true
	s := sandbox.New(cfg)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoTikTokToken), 0o600))
	c, err := tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: server.URL, TokenFile: token, EmailMode: mode},
		slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s, c
}

// people are n users with an e-mail, every second with a phone, every third with a device id, and the kind of every hash.
func people(t testing.TB, n int) (rows []destination.Row, universe map[string]string) {
	h, err := identity.NewHasher("PL")
	require.NoError(t, err)
	universe = map[string]string{}
	for i := range n {
		inputs := []identity.Input{{Field: identity.Email, Value: identity.Raw(fmt.Sprintf("User.%d+tag@Example.com", i))}}
		if i%2 == 0 {
			inputs = append(inputs, identity.Input{Field: identity.Phone, Value: identity.Raw(fmt.Sprintf("601 %06d", i))})
		}
		if i%3 == 0 {
			inputs = append(inputs, identity.Input{Field: identity.GAID, Value: identity.Raw(fmt.Sprintf("38400000-8cf0-11bd-b23e-%012d", i))})
		}
		ids, dropped := h.Identify(inputs)
		require.Empty(t, dropped)
		for _, id := range ids {
			if rest, ok := strings.CutPrefix(string(id.Scheme), "tiktok:"); ok {
				kind, _, _ := strings.Cut(rest, "_")
				universe[hex.EncodeToString([]byte(id.Value))] = kind
			}
		}
		rows = append(rows, destination.Row{User: audience.UserID(fmt.Sprintf("u%d", i)), Identifiers: ids})
	}
	return rows, universe
}

// membersOf is what the platform should hold of rows sent under a mode's scheme.
func membersOf(rows []destination.Row, email audience.Scheme) []sandbox.Member {
	kinds := map[audience.Scheme]string{email: "EMAIL_SHA256", identity.TikTokPhone: "PHONE_SHA256", identity.TikTokAAID: "AAID_SHA256"}
	members := []sandbox.Member{}
	for _, row := range rows {
		for _, id := range row.Identifiers {
			if kind, ok := kinds[id.Scheme]; ok {
				members = append(members, sandbox.Member{Kind: kind, Hash: hex.EncodeToString([]byte(id.Value))})
			}
		}
	}
	slices.SortFunc(members, func(a, b sandbox.Member) int { return strings.Compare(a.Kind+a.Hash, b.Kind+b.Hash) })
	return members
}

func send(t *testing.T, c *tiktok.Client, id string, rows []destination.Row, op destination.Op) {
	t.Helper()
	batches, left := c.Split(rows, op)
	require.Empty(t, left)
	for _, b := range batches {
		result, err := c.Apply(t.Context(), id, b)
		require.NoError(t, err)
		require.Zero(t, result.Unnamed)
		require.NotEmpty(t, result.RequestID)
	}
}

// TestWholeLife: found or made, filled, read, emptied in part, deleted; the sandbox says whom it holds, and knows for each
// hash of which kind it must be.
func TestWholeLife(t *testing.T) {
	rows, universe := people(t, 2500)
	s, c := start(t, sandbox.Config{TikTok: sandbox.TikTokConfig{Universe: universe}}, "")
	ctx := t.Context()
	require.NoError(t, c.Check(ctx))
	spec := destination.AudienceSpec{Key: "champions", Name: strings.Repeat("Zażółć ", 30)}
	id, err := c.EnsureAudience(ctx, spec)
	require.NoError(t, err)
	again, err := c.EnsureAudience(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, id, again)
	other, err := c.EnsureAudience(ctx, destination.AudienceSpec{Key: "lapsed", Name: spec.Name})
	require.NoError(t, err)
	require.NotEqual(t, id, other, "the name decides nothing")

	email := identity.TikTokEmailBasic
	send(t, c, id, rows, destination.Add)
	require.Equal(t, membersOf(rows, email), s.TikTok().Members(id))
	send(t, c, id, rows, destination.Add) // a repeat, as after a lost answer
	require.Equal(t, membersOf(rows, email), s.TikTok().Members(id))

	status, err := c.Audience(ctx, id)
	require.NoError(t, err)
	require.Equal(t, destination.Processing, status.State)
	s.Advance(11 * time.Hour)
	status, err = c.Audience(ctx, id)
	require.NoError(t, err)
	require.Equal(t, destination.Ready, status.State)
	require.True(t, status.Writable && status.Low > 1000)

	forget := make([]destination.Row, 0, 2000) // the ledger gives back what was sent, and no more
	for _, row := range rows[:2000] {
		sent := slices.DeleteFunc(slices.Clone(row.Identifiers), func(id audience.Identifier) bool { return !slices.Contains(c.Schemes(), id.Scheme) })
		forget = append(forget, destination.Row{User: row.User, Identifiers: sent})
	}
	send(t, c, id, forget, destination.Remove)
	require.Equal(t, membersOf(rows[2000:], email), s.TikTok().Members(id))

	require.NoError(t, c.DeleteAudience(ctx, id))
	require.NoError(t, c.DeleteAudience(ctx, id), "gone already")
	_, err = c.Audience(ctx, id)
	var e *destination.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, destination.Gone, e.Kind)
}

// TestModeChanges: what was added under one e-mail mode is removed under it, although the account is set to another now.
func TestModeChanges(t *testing.T) {
	rows, _ := people(t, 20)
	s, before := start(t, sandbox.Config{}, "legacy")
	id, err := before.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	send(t, before, id, rows, destination.Add)
	require.Equal(t, membersOf(rows, identity.TikTokEmailLegacy), s.TikTok().Members(id))

	server := httptest.NewServer(s.Handler())
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoTikTokToken), 0o600))
	after, err := tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: server.URL, TokenFile: token}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NotContains(t, after.Schemes(), identity.TikTokEmailLegacy)
	send(t, after, id, rows, destination.Remove)
	require.Empty(t, s.TikTok().Members(id))
}

// TestFaults: whatever goes wrong is told as what it is, and nothing that is not confirmed passes for success.
func TestFaults(t *testing.T) {
	for _, f := range []struct {
		fault sandbox.Fault
		kind  destination.Kind
		code  string
	}{
		{sandbox.Fault{Kind: sandbox.FaultHTTP500}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultHTTP502HTML}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultEmpty200}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultPlainText200}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultResetBefore}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultResetAfter}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultTruncatedJSON}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultCodeAsString}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultTokenRevoked}, destination.Unauthorized, "40105"},
		{sandbox.Fault{Kind: sandbox.FaultAudienceDeleted}, destination.Gone, "40007"},
		{sandbox.Fault{Kind: sandbox.FaultAudienceLocked}, destination.Busy, "40002"},
		{sandbox.Fault{Kind: sandbox.FaultRateLimited}, destination.RateLimited, "40100"},
		{sandbox.Fault{Kind: sandbox.FaultCode, Code: 51063}, destination.Transient, "51063"},
		{sandbox.Fault{Kind: sandbox.FaultCode, Code: 60001}, destination.Transient, "60001"},
		{sandbox.Fault{Kind: sandbox.FaultCode, Code: 40061}, destination.TooLarge, "40061"},
	} {
		t.Run(string(f.fault.Kind)+f.code, func(t *testing.T) {
			s, c := start(t, sandbox.Config{}, "")
			id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
			require.NoError(t, err)
			rows, _ := people(t, 2)
			batches, _ := c.Split(rows[1:], destination.Add)
			f.fault.Path, f.fault.Count = "/segment/mapping/", 1
			require.NoError(t, s.Inject(f.fault))
			_, err = c.Apply(t.Context(), id, batches[0])
			var e *destination.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, f.kind, e.Kind, "%v", err)
			require.Equal(t, f.code, e.Code)
			if e.Kind == destination.RateLimited || e.Kind == destination.Busy {
				require.Positive(t, e.RetryAfter)
			}
			_, err = c.Apply(t.Context(), id, batches[0])
			require.NoError(t, err, "once the fault is over the same batch goes through")
			require.Len(t, s.TikTok().Members(id), 1)
		})
	}
}

// TestBadRow: one bad row refuses its batch, and alone it is known.
func TestBadRow(t *testing.T) {
	s, c := start(t, sandbox.Config{}, "")
	id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	rows, _ := people(t, 8)
	batches, _ := c.Split(rows, destination.Add)
	whole := batches[0]
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultRejectValues, Values: []string{hex.EncodeToString([]byte(whole.Rows[5].Identifiers[0].Value))}}))
	kindOf := func(rows []destination.Row) destination.Kind {
		part := whole
		part.Rows = rows
		_, err := c.Apply(t.Context(), id, part)
		var e *destination.Error
		if err == nil {
			return 0
		}
		require.ErrorAs(t, err, &e)
		return e.Kind
	}
	require.Equal(t, destination.Rejected, kindOf(whole.Rows))
	require.Zero(t, kindOf(whole.Rows[:4]))
	require.Equal(t, destination.Rejected, kindOf(whole.Rows[5:6]))
	require.Zero(t, kindOf(whole.Rows[6:]))

	s.ClearFaults()
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultRejectHalf, Path: "/segment/mapping/"}))
	result, err := c.Apply(t.Context(), id, whole)
	require.NoError(t, err)
	require.Equal(t, 1, result.Unnamed, "partly successful is not success")
}

// TestCreateAnswerLost: the audience that was made although its answer was lost is found, and no second one is made.
func TestCreateAnswerLost(t *testing.T) {
	s, c := start(t, sandbox.Config{}, "")
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Path: "/segment/audience/", Count: 1}))
	_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.Error(t, err)
	_, err = c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	require.Len(t, s.TikTok().Audiences(), 1)
}

// TestManyAudiences: the search turns the pages of the list, the last one included.
func TestManyAudiences(t *testing.T) {
	s, c := start(t, sandbox.Config{}, "")
	for range 2 {
		for i := range 205 {
			_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: audience.AudienceID(fmt.Sprintf("a%d", i))})
			require.NoError(t, err)
		}
	}
	require.Len(t, s.TikTok().Audiences(), 205)
}
