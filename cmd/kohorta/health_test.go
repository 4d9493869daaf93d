package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// TestTokens: one that is refused becomes a state of its destination with the remedy in words, and its work waits; the other
// destination goes on. When the file holds a good one again, all of it goes on by itself.
func TestTokens(t *testing.T) {
	platforms := startAwayPlatforms(t)
	config := testConfig(t)
	s, _ := startConfigured(t, config)
	c, do := synced(t, s, platforms, "ann", "bob", "cid")
	state := func(id string) *audiencev1.Destination {
		r, err := c.audiences.GetDestination(t.Context(), &audiencev1.GetDestinationRequest{Name: "destinations/" + id})
		require.NoError(t, err)
		return r.GetDestination()
	}
	becomes := func(id string, want audiencev1.Destination_State) {
		t.Helper()
		require.Eventually(t, func() bool { return state(id).GetState() == want }, time.Minute, 50*time.Millisecond, "%v", state(id))
	}
	becomes("meta", audiencev1.Destination_STATE_OK)
	becomes("tiktok", audiencev1.Destination_STATE_OK)
	require.Contains(t, do("destination", "check", "tiktok"), "goes on")

	token := filepath.Join(config.SecretsDir, "tiktok-token")
	require.NoError(t, os.WriteFile(token, []byte("revoked-canary"), 0o600))
	becomes("tiktok", audiencev1.Destination_STATE_WAITING)
	require.NotEmpty(t, state("tiktok").GetRemedy())
	require.NotContains(t, state("tiktok").String(), "canary")
	require.Contains(t, do("destination", "list"), "waiting")
	_, err := kohorta(t, s.address(), "destination", "check", "tiktok")
	require.ErrorContains(t, err, state("tiktok").GetRemedy())

	// A stop waits for the account, a sync ends with what is wrong; Meta knows of neither.
	do("user", "stop", "ann")
	require.Eventually(t, func() bool { meta, _ := platforms.held(); return meta == 2 }, time.Minute, 20*time.Millisecond)
	do("user", "move", "bob", "--out-of", "everybody")
	started, err := c.audiences.StartSync(t.Context(), &audiencev1.StartSyncRequest{Name: "audiences/all-tiktok"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		run, err := c.runs.GetRun(t.Context(), &audiencev1.GetRunRequest{Name: started.GetRun().GetName()})
		require.NoError(t, err)
		return run.GetRun().GetState() == audiencev1.Run_STATE_FAILED && strings.Contains(run.GetRun().GetError(), state("tiktok").GetRemedy())
	}, time.Minute, 50*time.Millisecond)
	_, tiktok := platforms.held()
	require.Equal(t, 3, tiktok)
	require.Equal(t, audiencev1.Destination_STATE_OK, state("meta").GetState())

	require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoTikTokToken), 0o600))
	becomes("tiktok", audiencev1.Destination_STATE_OK)
	require.Empty(t, state("tiktok").GetTrouble())
	require.Eventually(t, func() bool { _, tiktok := platforms.held(); return tiktok == 1 }, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		runs, err := c.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Subject: "audiences/all-tiktok", PageSize: 1})
		require.NoError(t, err)
		return runs.GetRuns()[0].GetName() != started.GetRun().GetName() && runs.GetRuns()[0].GetState() == audiencev1.Run_STATE_SUCCEEDED
	}, time.Minute, 50*time.Millisecond, "the sync goes on by itself")
}

// TestSecretOfTheEnvironment opens an account as a file does.
func TestSecretOfTheEnvironment(t *testing.T) {
	t.Setenv("KOHORTA_SECRET_TIKTOK", sandbox.DemoTikTokToken)
	_, url := startPlatforms(t)
	s := startService(t)
	out, err := kohorta(t, s.address(), "apply", "--yes", "-f", write(t, "r.yaml",
		`destinations: [{id: tiktok, platform: tiktok, account: "7000000000000000001", token_secret: "env:TIKTOK", base_url: "`+url+`"}]`))
	require.NoError(t, err, out)
	out, err = kohorta(t, s.address(), "destination", "check", "tiktok")
	require.NoError(t, err, out)
	out, err = kohorta(t, s.address(), "segment", "evaluate") // the service's own first evaluation is over then
	require.NoError(t, err, out)
}

// TestLookalikeCommands: made once however often it is asked for, read back with the platform's state, deleted there.
func TestLookalikeCommands(t *testing.T) {
	platforms := startAwayPlatforms(t)
	s := startService(t)
	names := make([]audience.UserID, 120)
	for i := range names {
		names[i] = audience.UserID(fmt.Sprintf("user%d", i))
	}
	_, do := synced(t, s, platforms, names...)
	require.Contains(t, do("lookalike", "list"), "no lookalikes yet")
	refused := func(args ...string) string {
		t.Helper()
		_, err := kohorta(t, s.address(), append([]string{"lookalike", "create"}, args...)...)
		require.Error(t, err)
		return err.Error()
	}
	wrong := refused("like", "all-meta", "--place", "Poland", "--ratio", "0.5", "--size", "broad")
	for _, field := range []string{"lookalike.places", "lookalike.ratio", "lookalike.size"} {
		require.Contains(t, wrong, field)
	}
	require.Contains(t, refused("like", "all-tiktok", "--place", "798544", "--size", "huge"), "huge")
	require.Contains(t, refused("like", "nowhere", "--place", "PL", "--ratio", "0.01"), "audiences/nowhere does not exist")

	create := []string{"lookalike", "create", "like", "all-meta", "--place", "PL", "--ratio", "0.01"}
	require.Contains(t, do(create...), "lookalikes/like made")
	require.Contains(t, refused(create[2:]...), "exists")
	require.Contains(t, refused("alike", "all-meta", "--place", "PL", "--ratio", "0.01"), "lookalikes/like: exists", "Meta makes no two alike")
	require.Contains(t, do("lookalike", "get", "like"), "STATE_")
	_, err := kohorta(t, s.address(), "audience", "delete", "all-meta")
	require.ErrorContains(t, err, "lookalikes/like")
	do("lookalike", "delete", "like")
	require.Contains(t, do(create...), "made", "a new one, for the platform has forgotten the other")
	require.Contains(t, do("destination", "check", "meta"), "goes on")
	require.Contains(t, do("sync", "held"), "no sync waits")
}

// TestPoliciesInFiles: a duration as people write it, and again without anything to do.
func TestPoliciesInFiles(t *testing.T) {
	_, url := startPlatforms(t)
	s := startService(t)
	do := func(args ...string) string {
		t.Helper()
		out, err := kohorta(t, s.address(), args...)
		require.NoError(t, err, out)
		return out
	}
	file := write(t, "r.yaml", fmt.Sprintf(`
segments: [{id: everybody, expression: 'did("purchase", "all")'}]
destinations: [{id: meta, platform: meta, account: "1122334455", token_secret: meta-token, base_url: %q, api_version: v24.0, columns: [EMAIL]}]
audiences: [{id: all, segment: segments/everybody, destination: destinations/meta, exclusive_group: offers, max_source_age: 36h}]
`, url))
	do("apply", "--yes", "-f", file)
	shown := do("audience", "get", "all")
	require.Contains(t, shown, "offers")
	require.Contains(t, shown, "129600s")
	require.Contains(t, do("destination", "get", "meta"), "v24.0")
	require.Contains(t, do("apply", "--yes", "-f", file), "nothing to do")
	do("segment", "evaluate")
}
