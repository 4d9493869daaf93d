package meta_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// TestErase: out of every audience of the account at once, others stay.
func TestErase(t *testing.T) {
	s, c, _, one := startTimed(t, sandbox.Config{})
	two, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "two"})
	require.NoError(t, err)
	add(t, c, two, people(t, 50))
	batches, _ := c.Split(people(t, 20), destination.Remove)
	for range 2 { // a repeat is harmless
		_, err = c.Erase(t.Context(), batches[0])
		require.NoError(t, err)
	}
	holds(t, s, one, people(t, 300)[20:])
	holds(t, s, two, people(t, 50)[20:])
	added, _ := c.Split(people(t, 20), destination.Add)
	_, err = c.Erase(t.Context(), added[0])
	require.Error(t, err, "only of what Split made to remove")
}

// TestValueBased: values go with adds, a removal needs none, and a row without one is named instead of sent as 0.
func TestValueBased(t *testing.T) {
	s, c := start(t, sandbox.Config{})
	id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip", ValueBased: true})
	require.NoError(t, err)
	rows := people(t, 5)
	for i, v := range []float64{44.5, 0, 1e21, -1, 0} {
		rows[i].Value, rows[i].HasValue = v, i < 4
	}
	rows[0].Limited = true
	batches, left := c.Split(rows, destination.Add)
	require.Equal(t, []destination.Rejection{{Row: 3, Reason: "has a value that is no number of 0 or more"},
		{Row: 4, Reason: "has no value, which a value-based audience wants of everybody"}}, left)
	result, err := c.Apply(t.Context(), id, batches[0])
	require.NoError(t, err)
	require.Zero(t, result.Unnamed+len(result.Rejected))
	values := map[string]string{}
	for _, m := range s.Meta().Members(id) {
		values[m.Keys["EMAIL"]] = m.LookalikeValue
	}
	require.Equal(t, map[string]string{keysOf(rows[0])["EMAIL"]: "44.5", keysOf(rows[1])["EMAIL"]: "0",
		keysOf(rows[2])["EMAIL"]: "1000000000000000000000"}, values)

	r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 3, Valued: true, Limited: true})
	require.NoError(t, err)
	_, err = r.Send(t.Context(), batches[0], true)
	require.NoError(t, err)
	s.Advance(2 * time.Minute)
	require.NoError(t, r.Finish(t.Context()))
	require.Len(t, s.Meta().Members(id), 3)

	plain, _ := c.Split(people(t, 3), destination.Remove)
	_, err = c.Apply(t.Context(), id, plain[0])
	require.ErrorContains(t, err, "LOOKALIKE_VALUE", "the platform insists on the column, in removals too")
	gone := people(t, 3)
	for i := range gone {
		gone[i].HasValue = true
	}
	removal, left := c.Split(gone, destination.Remove)
	require.Empty(t, left)
	_, err = c.Apply(t.Context(), id, removal[0])
	require.NoError(t, err)
	require.Empty(t, s.Meta().Members(id))
}

// TestValueTerms: what keeps value-based audiences from being made concerns no other, and a person can help.
func TestValueTerms(t *testing.T) {
	s, c := start(t, sandbox.Config{})
	require.NoError(t, s.Meta().SetValueTerms(sandbox.DemoMetaAccount, false))
	_, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "worth", ValueBased: true})
	var failure *destination.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, []any{destination.Misconfigured, destination.OfAudience, "2663"}, []any{failure.Kind, failure.Scope, failure.Code})
	require.Contains(t, failure.Remedy, "terms of value-based Custom Audiences")
	require.NoError(t, c.Check(t.Context()))
	_, err = c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "plain"})
	require.NoError(t, err)
	require.NoError(t, s.Meta().SetValueTerms(sandbox.DemoMetaAccount, true))
	id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "worth", ValueBased: true})
	require.NoError(t, err)

	rows := people(t, 120)
	for i := range rows {
		rows[i].HasValue, rows[i].Value = true, float64(i)
	}
	batches, left := c.Split(rows, destination.Add)
	require.Empty(t, left)
	_, err = c.Apply(t.Context(), id, batches[0])
	require.NoError(t, err)
	s.Advance(25 * time.Hour)
	_, err = c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "like", Seed: id, Places: []string{"PL"}, Ratio: 0.02})
	require.NoError(t, err, "by custom_ratio, as value-based seeds want it")
}

// TestStatusInWords: what a person must do about an audience.
func TestStatusInWords(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	clock.advance(25 * time.Hour)
	for state, want := range map[sandbox.AudienceState]struct {
		state    destination.State
		writable bool
		words    []string
	}{
		sandbox.StateNormal:   {destination.TooSmall, true, []string{"too small"}},
		sandbox.StateFlagged:  {destination.Blocked, false, []string{"name and description", "appeal"}},
		sandbox.StateExpiring: {destination.Expiring, true, []string{clock.now().UTC().AddDate(0, 0, 90).Format(time.DateOnly), "active ad set"}},
	} {
		require.NoError(t, s.Meta().SetState(id, state))
		status, err := c.Audience(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want.state, status.State, state)
		require.Equal(t, want.writable, status.Writable, state)
		require.EqualValues(t, 300, status.Low, state)
		for _, words := range want.words {
			require.Contains(t, strings.ToLower(status.Reason+"; "+status.Remedy), words, state)
		}
	}
	require.NoError(t, s.Meta().SetState(id, sandbox.StateExpiring))
	clock.advance(91 * 24 * time.Hour)
	_, err := c.Audience(t.Context(), id)
	require.Error(t, err, "it went at its delete_time")
}

// TestLookalike: made once, read back, adopted instead of made twice.
func TestLookalike(t *testing.T) {
	s, c, clock, seed := startTimed(t, sandbox.Config{})
	spec := destination.LookalikeSpec{Key: "like-vip", Name: "Audience 9", Seed: seed, Places: []string{"PL"}, Ratio: 0.03, StartingRatio: 0.01}
	id, err := c.EnsureLookalike(t.Context(), spec)
	require.NoError(t, err)
	again, err := c.EnsureLookalike(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, id, again)
	got, err := c.Lookalike(t.Context(), id)
	require.NoError(t, err)
	want := spec
	want.Key = ""
	require.Equal(t, want, got.Spec)

	both := spec
	both.Places = []string{"DE", "AT"}
	two, err := c.EnsureLookalike(t.Context(), both)
	require.NoError(t, err)
	require.NotEqual(t, id, two)
	again, err = c.EnsureLookalike(t.Context(), both)
	require.NoError(t, err)
	require.Equal(t, two, again)

	// Another starting ratio is another lookalike, but Meta takes it for the same: say so rather than adopt it.
	ring := spec
	ring.StartingRatio = 0.02
	_, err = c.EnsureLookalike(t.Context(), ring)
	require.Equal(t, "2654/1713007", failure(t, err).Code)
	require.NotEmpty(t, failure(t, err).Remedy)

	// The answer of a creation is lost: found by the next attempt.
	lost := spec
	lost.Ratio = 0.05
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Method: "POST", Path: "/customaudiences", Count: 1}))
	_, err = c.EnsureLookalike(t.Context(), lost)
	require.Equal(t, destination.Transient, failure(t, err).Kind)
	_, err = c.EnsureLookalike(t.Context(), lost)
	require.NoError(t, err)
	require.Len(t, s.Meta().Audiences(), 4)

	// Seeds that cannot be one.
	for name, spoil := range map[string]func(){
		"flagged":   func() { require.NoError(t, s.Meta().SetState(seed, sandbox.StateFlagged)) },
		"lookalike": func() { spec.Seed = id },
		"too small": func() {
			small, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "small"})
			require.NoError(t, err)
			add(t, c, small, people(t, 3))
			spec.Seed = small
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Seed, spec.Ratio = seed, 0.07
			require.NoError(t, s.Meta().SetState(seed, sandbox.StateNormal))
			spoil()
			clock.advance(48 * time.Hour)
			_, err := c.EnsureLookalike(t.Context(), spec)
			require.NotEqual(t, destination.Transient, failure(t, err).Kind)
			require.NotEmpty(t, failure(t, err).Remedy)
		})
	}
}

// TestLookalikeSpec: what is wrong is named, all at once.
func TestLookalikeSpec(t *testing.T) {
	_, c := start(t, sandbox.Config{})
	_, err := c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "x", Seed: "vip", Places: []string{"Poland"}, Ratio: 0.25,
		StartingRatio: 0.3, Size: "NARROW", MobileOS: "ALL", Placements: []string{"TikTok"}, IncludeSeed: true})
	var invalid *audience.InvalidError
	require.ErrorAs(t, err, &invalid)
	var fields []string
	for _, v := range invalid.Violations {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"seed", "places", "ratio", "starting_ratio", "size", "mobile_os", "placements", "include_seed"}, fields)
}

// TestVersions: an ended version stops with the remedy; where Meta moves the app up by itself the log says so, once.
func TestVersions(t *testing.T) {
	for _, upgraded := range []bool{false, true} {
		server := httptest.NewServer(sandbox.New(sandbox.Config{Now: func() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) },
			Meta: sandbox.MetaConfig{ProofOptional: true, AutoUpgrade: upgraded}}).Handler())
		defer server.Close()
		token := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoMetaToken), 0o600))
		var log strings.Builder
		c, err := meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: server.URL, TokenFile: token, Version: "v24.0"},
			slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		err = c.Check(t.Context())
		if !upgraded {
			require.Equal(t, "2635", failure(t, err).Code)
			require.Equal(t, destination.Misconfigured, failure(t, err).Kind)
			require.Contains(t, failure(t, err).Remedy, "version")
			continue
		}
		require.NoError(t, err)
		require.NoError(t, c.Check(t.Context()))
		require.Equal(t, 1, strings.Count(log.String(), "used=v25.0"))
	}
}

// TestFirstLoad: with Meta's own figures everybody else is a replace, unless 90 minutes may not do.
func TestFirstLoad(t *testing.T) {
	_, c := start(t, sandbox.Config{})
	load := destination.Load{Rows: 10_000_000, Additions: 10_000_000, Removals: 10_000_000, Held: 10_000_000}
	require.Equal(t, destination.ByReplace, destination.FirstLoad(load, c.Limits()).Way)
	load = destination.Load{Rows: 99_000_000, Additions: 99_000_000, Removals: 10_000_000, Held: 10_000_000}
	require.Equal(t, destination.ByReplace, destination.FirstLoad(load, c.Limits()).Way, "9900 requests at 20 a second")
	slow := c.Limits()
	slow.RequestsPerSecond = 2
	require.Equal(t, destination.ByDiff, destination.FirstLoad(load, slow).Way)
}

// TestStopsInWords: what stops an audience or an account is told with the first refused request, and who must do what.
func TestStopsInWords(t *testing.T) {
	s, c, _, id := startTimed(t, sandbox.Config{})
	batches, _ := c.Split(people(t, 3), destination.Add)
	for name, stop := range map[string]struct {
		with  func(on bool) error
		scope destination.Scope
		words string
	}{
		"flagged": {func(on bool) error {
			if on {
				return s.Meta().SetState(id, sandbox.StateFlagged)
			}
			return s.Meta().SetState(id, sandbox.StateNormal)
		}, destination.OfAudience, "flagged"},
		"terms": {func(on bool) error { return s.Meta().SetTerms(sandbox.DemoMetaAccount, !on) }, destination.OfAccount, "accept"},
		"unshared": {func(on bool) error {
			if on {
				return s.Meta().SetState(id, sandbox.StateUnshared)
			}
			return s.Meta().SetState(id, sandbox.StateNormal)
		}, destination.OfAudience, "share"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, stop.with(true))
			_, err := c.Apply(t.Context(), id, batches[0])
			e := failure(t, err)
			require.Equal(t, destination.Misconfigured, e.Kind)
			require.Equal(t, stop.scope, e.Scope)
			require.Contains(t, e.Remedy, stop.words)
			require.NoError(t, stop.with(false))
			_, err = c.Apply(t.Context(), id, batches[0])
			require.NoError(t, err, "and goes on once it is done")
		})
	}
}
