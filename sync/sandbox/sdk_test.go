package sandbox

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sdk runs a script under testdata that uses a platform's own SDK and returns the JSON object it prints.
func sdk(t *testing.T, module, script string, args ...string) answered {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not on the path, the SDKs cannot run: apt-get install nodejs")
	}
	modules, err := filepath.Abs("../../node_modules")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(modules, module)); err != nil {
		missing(module + " is not installed: npm ci")
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("testdata", script)}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	a := answered{text: string(out)}
	require.NoError(t, json.Unmarshal(out, &a.json), a.text)
	return a
}

// TestMetaSDK lets Meta's SDK for Node, which speaks v24.0, work on a day when that version was alive.
func TestMetaSDK(t *testing.T) {
	s, base := start(t, Config{Now: func() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) }})
	got := sdk(t, "facebook-nodejs-business-sdk", "meta_sdk.cjs", base, DemoMetaAppSecret, DemoMetaAccount, DemoMetaToken)
	id := got.at("id").(string)
	require.Equal(t, "v24.0", got.at("version"))
	require.EqualValues(t, 3, got.at("added", "num_received"))
	require.EqualValues(t, 1, got.at("added", "num_invalid_entries"))
	require.Equal(t, id, got.at("added", "audience_id"))
	require.EqualValues(t, 0, got.at("removed", "num_invalid_entries"))
	require.Equal(t, "from the SDK", got.at("read", "name"))
	require.EqualValues(t, 200, got.at("read", "operation_status", "code"))
	require.EqualValues(t, -1, got.at("read", "approximate_count_lower_bound"))
	require.Equal(t, []any{"renamed", "second"}, got.at("names"))
	require.EqualValues(t, 400, got.at("refusal", "status"))
	require.EqualValues(t, 100, got.at("refusal", "code"))
	require.Equal(t, StateDeleted, s.Meta().Audiences()[0].State)
	require.Equal(t, StateNormal, s.Meta().Audiences()[1].State)
}

// TestTikTokSDK lets TikTok's SDK for JavaScript work; it has the file API and no /segment/ calls.
func TestTikTokSDK(t *testing.T) {
	s, base := start(t, Config{QuotasOff: true})
	got := sdk(t, "tiktok-business-api-sdk-official", "tiktok_sdk.mjs", base, DemoTikTokAdvertiser, DemoTikTokToken, DemoTikTokAppID, DemoTikTokAppSecret)
	id := got.at("created", "custom_audience_id")
	require.Equal(t, DemoTikTokAdvertiser, got.at("granted", "list").([]any)[0].(map[string]any)["advertiser_id"])
	listed := got.at("listed", "list").([]any)[0].(map[string]any)
	require.Equal(t, id, listed["audience_id"])
	require.Equal(t, "Customer File Audience", listed["audience_type"])
	details := got.at("details", "list").([]any)[0].(map[string]any)["audience_details"].(map[string]any)
	require.Equal(t, "Customer File Audience", details["type"])
	require.Equal(t, false, details["is_valid"])
	require.Contains(t, got.at("refusal"), "not editable")
	require.Contains(t, got.at("refusal"), "40002")
	require.Empty(t, got.at("left", "list"))
	require.True(t, s.TikTok().Audiences()[0].Deleted)
}
