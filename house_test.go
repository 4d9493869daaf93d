// Package kohorta_test holds the rules of the house: which room may not know which.
package kohorta_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/kohorta/kohorta/"

// TestImports holds the table of docs/architecture.md: a room (its own package or any below it) never reaches, even
// through others, what the rule names.
func TestImports(t *testing.T) {
	const (
		clickhouse = "github.com/ClickHouse/clickhouse-go/v2"
		redis      = "github.com/redis/go-redis/v9"
		grpc       = "google.golang.org/grpc"
	)
	rules := []struct {
		room, never, why string
	}{
		{"internal/audience", module, "the shared nouns know no room"},
		{"internal/warehouse", redis, "ClickHouse code knows no Redis"},
		{"internal/warehouse", grpc, "a store knows no transport"},
		{"internal/live", clickhouse, "the projection knows no ClickHouse"},
		{"internal/live", grpc, "a store knows no transport"},
		{"internal/engine", module + "internal/warehouse", "engines know no tables"},
		{"internal/tabular", grpc, "files become events, whoever takes them"},
		{"internal/lease", clickhouse, "leases are kept by whoever keeps them"},
		{"internal/pause", module, "who waits knows no room"},
		{"internal/run", clickhouse, "runs are kept by whoever keeps them"},
		{"internal/run", grpc, "long work knows no transport"},
		{"internal/privacy", clickhouse, "who forgets knows no driver"},
		{"internal/privacy", grpc, "who forgets knows no transport"},
		{"segmenter", module + "proto", "scores know no wire format"},
		{"segmenter", module + "sync", "segments know no destination"},
		{"segmenter", module + "server", "segments know no transport"},
		{"segmenter", redis, "segments know no Redis keys"},
		{"segmenter/expr", clickhouse, "the compiler knows no connection"},
		{"segmenter/rfm", module + "internal", "mathematics: numbers in, numbers out"},
		{"segmenter/kmeans", module + "internal", "mathematics: numbers in, numbers out"},
		{"sync", module + "server", "delivery knows no transport"},
		{"sync", module + "segmenter", "delivery knows no expression"},
		{"sync/plan", module + "sync/meta", "a plan knows no vendor"},
		{"sync/plan", module + "sync/tiktok", "a plan knows no vendor"},
		{"sync/delivery", module + "sync/meta", "delivery knows no vendor by name"},
		{"sync/delivery", module + "sync/tiktok", "delivery knows no vendor by name"},
		{"sync/meta", module + "sync/tiktok", "connectors do not know each other"},
		{"sync/tiktok", module + "sync/meta", "connectors do not know each other"},
		{"sync/meta", module + "sync/delivery", "connectors classify, delivery retries"},
		{"sync/tiktok", module + "sync/delivery", "connectors classify, delivery retries"},
		{"sync/sandbox", module, "the stand-ins do not know the clients they test"},
		{"webhook", clickhouse, "webhooks know no driver"},
		{"webhook", redis, "webhooks know no driver"},
		{"webhook", grpc, "webhooks speak HTTP"},
		{"webhook", module + "proto", "webhooks know no wire format but their own"},
		{"webhook", module + "internal/warehouse", "rooms meet in cmd"},
		{"webhook", module + "internal/live", "rooms meet in cmd"},
		{"webhook", module + "server", "rooms meet in cmd"},
		{"webhook", module + "segmenter", "rooms meet in cmd"},
		{"webhook", module + "sync", "rooms meet in cmd"},
		{"server", module + "webhook", "rooms meet in cmd"},
		{"segmenter", module + "webhook", "rooms meet in cmd"},
		{"sync", module + "webhook", "rooms meet in cmd"},
		{"internal/secret", module, "a secret is nobody's"},
		{"server", clickhouse, "the server knows no driver"},
		{"server", redis, "the server knows no driver"},
		{"server", module + "segmenter", "rooms meet in cmd"},
		{"server", module + "sync", "rooms meet in cmd"},
	}
	deps := map[string]map[string][]string{} // room → package → its dependencies
	for _, rule := range rules {
		t.Run(rule.room+" without "+strings.TrimPrefix(rule.never, module), func(t *testing.T) {
			if deps[rule.room] == nil {
				deps[rule.room] = dependencies(t, rule.room)
			}
			for pkg, imports := range deps[rule.room] {
				for _, dep := range imports {
					own := strings.HasPrefix(dep, module+rule.room)
					require.False(t, !own && strings.HasPrefix(dep+"/", strings.TrimSuffix(rule.never, "/")+"/"),
						"%s reaches %s: %s", pkg, dep, rule.why)
				}
			}
		})
	}
}

// dependencies lists, for each package of a room, everything it imports, directly or not, tests aside.
func dependencies(t *testing.T, room string) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "./"+room+"/...").Output()
	require.NoError(t, err)
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages[fields[0]] = fields[1:]
	}
	require.NotEmpty(t, packages, "no package in room %s", room)
	return packages
}
