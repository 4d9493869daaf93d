package meta_test

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// start runs a sandbox and gives a client of its demo account.
func start(t *testing.T, cfg sandbox.Config) (*sandbox.Server, *meta.Client) {
	t.Helper()
	s := sandbox.New(cfg)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	secret := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content+"\n"), 0o600))
		return path
	}
	c, err := meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: server.URL, TokenFile: secret("token", sandbox.DemoMetaToken),
		AppSecretFile: secret("app_secret", sandbox.DemoMetaAppSecret)}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s, c
}

// people are n users with an e-mail, every second with a phone, every third with a device id.
func people(t testing.TB, n int) []destination.Row {
	h, err := identity.NewHasher("PL")
	require.NoError(t, err)
	rows := make([]destination.Row, n)
	for i := range rows {
		inputs := []identity.Input{{Field: identity.Email, Value: identity.Raw(fmt.Sprintf("User.%d@Example.com", i))}}
		if i%2 == 0 {
			inputs = append(inputs, identity.Input{Field: identity.Phone, Value: identity.Raw(fmt.Sprintf("601 %06d", i))})
		}
		if i%3 == 0 {
			inputs = append(inputs, identity.Input{Field: identity.GAID, Value: identity.Raw(fmt.Sprintf("38400000-8cf0-11bd-b23e-%012d", i))})
		}
		ids, dropped := h.Identify(inputs)
		require.Empty(t, dropped)
		rows[i] = destination.Row{User: audience.UserID(fmt.Sprintf("u%d", i)), Identifiers: ids}
	}
	return rows
}

// keysOf is what the platform should hold of a row.
func keysOf(row destination.Row) map[string]string {
	keys := map[string]string{}
	for _, id := range row.Identifiers {
		switch id.Scheme {
		case identity.MetaEmail:
			keys["EMAIL"] = hex.EncodeToString([]byte(id.Value))
		case identity.MetaPhone:
			keys["PHONE"] = hex.EncodeToString([]byte(id.Value))
		case identity.MetaMADID:
			keys["MADID"] = id.Value
		}
	}
	return keys
}

// TestWholeLife: found or made, filled, read, emptied in part, deleted; the sandbox says whom it holds.
func TestWholeLife(t *testing.T) {
	s, c := start(t, sandbox.Config{})
	ctx := t.Context()
	require.NoError(t, c.Check(ctx))
	spec := destination.AudienceSpec{Key: "champions", Name: "Audience 7"}
	id, err := c.EnsureAudience(ctx, spec)
	require.NoError(t, err)
	again, err := c.EnsureAudience(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, id, again)
	other, err := c.EnsureAudience(ctx, destination.AudienceSpec{Key: "lapsed", Name: "Audience 7"})
	require.NoError(t, err)
	require.NotEqual(t, id, other, "the name decides nothing")

	rows := people(t, 2500)
	holds := func(want []destination.Row) {
		t.Helper()
		held := map[string]map[string]string{}
		for _, row := range s.Meta().Members(id) {
			held[row.Keys["EMAIL"]] = row.Keys
		}
		require.Len(t, held, len(want))
		for _, row := range want {
			require.Equal(t, keysOf(row), held[keysOf(row)["EMAIL"]])
		}
	}
	send := func(rows []destination.Row, op destination.Op) {
		t.Helper()
		batches, left := c.Split(rows, op)
		require.Empty(t, left)
		for _, b := range batches {
			result, err := c.Apply(ctx, id, b)
			require.NoError(t, err)
			require.Empty(t, result.Rejected)
			require.Zero(t, result.Unnamed)
		}
	}
	send(rows, destination.Add)
	holds(rows)
	send(rows, destination.Add) // a repeat, as after a lost answer
	holds(rows)
	send(rows[:2000], destination.Remove)
	holds(rows[2000:])

	s.Advance(25 * time.Hour)
	status, err := c.Audience(ctx, id)
	require.NoError(t, err)
	require.True(t, status.Writable)
	require.LessOrEqual(t, status.Low, status.High)

	require.NoError(t, c.DeleteAudience(ctx, id))
	require.NoError(t, c.DeleteAudience(ctx, id), "gone already")
	for _, a := range s.Meta().Audiences() {
		if a.ID == id {
			require.Equal(t, sandbox.StateDeleted, a.State)
		}
	}
}

// TestRefusedRows: the platform's samples lead to the row; where it sends none, the count stays.
func TestRefusedRows(t *testing.T) {
	for _, array := range []bool{false, true} {
		s, c := start(t, sandbox.Config{Meta: sandbox.MetaConfig{SamplesAsArray: array}})
		id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
		require.NoError(t, err)
		batches, _ := c.Split(people(t, 7), destination.Add)
		require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultRejectHalf, Platform: "meta", Path: "/users"}))
		result, err := c.Apply(t.Context(), id, batches[0])
		require.NoError(t, err)
		if array {
			require.Empty(t, result.Rejected)
			require.Equal(t, 3, result.Unnamed)
			continue
		}
		require.Zero(t, result.Unnamed)
		require.Equal(t, []destination.Rejection{{Row: 1, Reason: "refused on demand"}, {Row: 3, Reason: "refused on demand"},
			{Row: 5, Reason: "refused on demand"}}, result.Rejected)
	}
}

// TestFaults: whatever goes wrong is told as what it is, and nothing that is not confirmed passes for success.
func TestFaults(t *testing.T) {
	for _, f := range []struct {
		fault sandbox.Fault
		kind  destination.Kind
		code  string
	}{
		{sandbox.Fault{Kind: sandbox.FaultHTTP500}, destination.Transient, "2"},
		{sandbox.Fault{Kind: sandbox.FaultHTTP502HTML}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultHTML400}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultEmpty200}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultPlainText200}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultResetBefore}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultResetAfter}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultTruncatedJSON}, destination.Transient, ""},
		{sandbox.Fault{Kind: sandbox.FaultTokenRevoked}, destination.Unauthorized, "190/467"},
		{sandbox.Fault{Kind: sandbox.FaultAudienceDeleted}, destination.Gone, "1487366"},
		{sandbox.Fault{Kind: sandbox.FaultAudienceLocked}, destination.Busy, "2650/1870145"},
		{sandbox.Fault{Kind: sandbox.FaultRateLimited}, destination.RateLimited, "80003/2446079"},
		{sandbox.Fault{Kind: sandbox.FaultLocalizedMessage, Code: 190, Subcode: 463}, destination.Unauthorized, "190/463"},
		{sandbox.Fault{Kind: sandbox.FaultErrorDataString, Code: 100, Subcode: 1713228}, destination.Misconfigured, "100/1713228"},
	} {
		t.Run(string(f.fault.Kind), func(t *testing.T) {
			s, c := start(t, sandbox.Config{})
			id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
			require.NoError(t, err)
			batches, _ := c.Split(people(t, 3), destination.Add)
			f.fault.Path, f.fault.Count = "/users", 1
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
			require.Len(t, s.Meta().Members(id), 3)
		})
	}
}

// TestCreateAnswerLost: the audience that was made although its answer was lost is found, and no second one is made.
func TestCreateAnswerLost(t *testing.T) {
	s, c := start(t, sandbox.Config{})
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Method: "POST", Path: "/customaudiences", Count: 1}))
	_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.Error(t, err)
	_, err = c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	require.Len(t, s.Meta().Audiences(), 1)
}

// TestManyAudiences: the search turns the pages of the list.
func TestManyAudiences(t *testing.T) {
	s, c := start(t, sandbox.Config{QuotasOff: true})
	for i := range 45 {
		_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: audience.AudienceID(fmt.Sprintf("a%d", i))})
		require.NoError(t, err)
	}
	for i := range 45 {
		_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: audience.AudienceID(fmt.Sprintf("a%d", i))})
		require.NoError(t, err)
	}
	require.Len(t, s.Meta().Audiences(), 45)
}

// TestFreshAudience: unknown to the users edge for a moment, which is no reason to give up.
func TestFreshAudience(t *testing.T) {
	_, c := start(t, sandbox.Config{Meta: sandbox.MetaConfig{FreshMiss: true}})
	id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	batches, _ := c.Split(people(t, 3), destination.Add)
	_, err = c.Apply(t.Context(), id, batches[0])
	var e *destination.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, destination.Transient, e.Kind)
	_, err = c.Apply(t.Context(), id, batches[0])
	require.NoError(t, err)
}

// TestTermsNotAccepted: found by Check before anything is sent, with the remedy.
func TestTermsNotAccepted(t *testing.T) {
	s, c := start(t, sandbox.Config{})
	require.NoError(t, s.Meta().SetTerms(sandbox.DemoMetaAccount, false))
	var e *destination.Error
	require.ErrorAs(t, c.Check(t.Context()), &e)
	require.Equal(t, destination.Misconfigured, e.Kind)
	require.Contains(t, e.Remedy, "accept")
}
