package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMembersInWords: of a segment, of several, as of now and then, and as JSON whatever the id.
func TestMembersInWords(t *testing.T) {
	s := startService(t)
	do := func(args ...string) string {
		t.Helper()
		out, err := kohorta(t, s.address(), args...)
		require.NoError(t, err, out)
		return out
	}
	odd := "tag\U000e0001"
	do("apply", "--yes", "-f", write(t, "r.yaml", "segments: [{id: vip, expression: 'did(\"a\", \"all\")'}, {id: late, expression: 'did(\"b\", \"all\")'}]"))
	do("segment", "evaluate")
	do("user", "move", "ann", "--into", "vip,late")
	do("user", "move", odd, "--into", "vip")
	require.Equal(t, "ann\n"+odd+"\n", do("segment", "members", "vip"))
	require.Equal(t, odd+"\n", do("segment", "members", "--filter", "vip && !late"))
	require.Empty(t, do("segment", "members", "vip", "--at", "2020-01-01"))
	require.Equal(t, "ann\n"+odd+"\n", do("segment", "members", "vip", "--at", time.Now().UTC().Format(time.DateOnly)))
	var member struct {
		User string `json:"user_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(do("segment", "members", "--filter", "vip && !late", "--output", "json")), &member))
	require.Equal(t, odd, member.User)
	for _, wrong := range [][]string{{}, {"vip", "--filter", "late"}, {"--filter", "vip &&"}, {"vip", "--at", "2090-01-01"}} {
		_, err := kohorta(t, s.address(), append([]string{"segment", "members"}, wrong...)...)
		require.Error(t, err, wrong)
	}
}
