package destination_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/sync/destination"
)

// Limits of two platforms as their connectors state them, and of one that knows nothing but rows.
var (
	replacing = destination.Limits{Rows: 10_000, RequestsPerSecond: 20, Replace: destination.ReplaceLimits{Rows: 100_000_000, Within: 90 * time.Minute}}
	filing    = destination.Limits{Rows: 1000, RequestsPerSecond: 8, Files: destination.FileLimits{Bytes: 50_000_000, PerCall: 49, Locked: 48 * time.Hour}}
	plain     = destination.Limits{Rows: 1000, RequestsPerSecond: 10}
)

func TestFirstLoad(t *testing.T) {
	const million = 1_000_000
	for name, c := range map[string]struct {
		load   destination.Load
		limits destination.Limits
		want   destination.Choice
	}{
		"a new audience, where replacing is possible": {
			destination.Load{Rows: 10 * million, Additions: 10 * million}, replacing,
			destination.Choice{Way: destination.ByDiff, Requests: 1000, Duration: 50 * time.Second,
				Reason: "diff: 1,000 requests, 50 s; the platform takes no files; nothing is there to replace"},
		},
		"everybody else": {
			destination.Load{Rows: 10 * million, Additions: 10 * million, Removals: 9 * million, Held: 9 * million}, replacing,
			destination.Choice{Way: destination.ByReplace, Requests: 1000, Duration: 50 * time.Second,
				Reason: "replace: 1,000 requests, 50 s, against diff: 1,900 requests, 2 min; the platform takes no files"},
		},
		"a few changes": {
			destination.Load{Rows: 10 * million, Additions: 100_000, Removals: 100_000, Held: 10 * million}, replacing,
			destination.Choice{Way: destination.ByDiff, Requests: 20, Duration: time.Second,
				Reason: "diff: 20 requests, 1 s; the platform takes no files; no replace, because the whole target is 1,000 requests"},
		},
		"too slow an account for a replace": {
			destination.Load{Rows: 10 * million, Additions: 10 * million, Removals: 9 * million, Held: 9 * million},
			destination.Limits{Rows: 10_000, RequestsPerSecond: 0.3, Replace: replacing.Replace},
			destination.Choice{Way: destination.ByDiff, Requests: 1900, Duration: 6333333333333,
				Reason: "diff: 1,900 requests, 106 min; the platform takes no files; no replace, because its 1,000 requests would take 56 min, more than half of the 90 min it may take"},
		},
		"too small a budget for a replace": {
			destination.Load{Rows: 10 * million, Additions: 10 * million, Removals: 9 * million, Held: 9 * million},
			destination.Limits{Rows: 10_000, RequestsPerSecond: 20, Replace: replacing.Replace, Budget: destination.Budget{Requests: 20, Per: 5 * time.Minute}},
			destination.Choice{Way: destination.ByDiff, Requests: 1900, Duration: 475 * time.Minute,
				Reason: "diff: 1,900 requests, 8 h; the platform takes no files; no replace, because its 1,000 requests would take 5 h, more than half of the 90 min it may take"},
		},
		"too large for a replace": {
			destination.Load{Rows: 60 * million, Additions: 60 * million, Removals: 100 * million, Held: 100 * million}, replacing,
			destination.Choice{Way: destination.ByDiff, Requests: 16_000, Duration: 800 * time.Second,
				Reason: "diff: 16,000 requests, 14 min; the platform takes no files; no replace of 100,000,000 rows or more"},
		},
		"few people, all of them others": {
			destination.Load{Rows: 99_999, Additions: 99_999, Removals: 99_999, Held: 99_999}, replacing,
			destination.Choice{Way: destination.ByDiff, Requests: 20, Duration: time.Second,
				Reason: "diff: 20 requests, 1 s; the platform takes no files; no replace below 100,000 rows"},
		},
		"made of files": {
			destination.Load{Rows: 50_000, Additions: 10, Held: 50_000, Files: true}, filing,
			destination.Choice{Way: destination.ByFile, Requests: 2, Duration: 250 * time.Millisecond,
				Reason: "file: 2 requests, 1 s; the audience is made of files, which nothing but files can change"},
		},
		"emptied": {
			destination.Load{Removals: million, Held: million}, replacing,
			destination.Choice{Way: destination.ByDiff, Requests: 100, Duration: 5 * time.Second,
				Reason: "diff: 100 requests, 5 s; the platform takes no files; a replace cannot empty an audience"},
		},
		"a static seed": {
			destination.Load{Rows: 10 * million, Additions: 10 * million, Static: true}, filing,
			destination.Choice{Way: destination.ByFile, Requests: 15, Duration: 1875 * time.Millisecond,
				Reason: "file: 15 requests, 2 s, against diff: 10,000 requests, 21 min; the platform cannot replace"},
		},
		"a static set of 100 million": {
			destination.Load{Rows: 100 * million, Additions: 100 * million, Static: true}, filing,
			destination.Choice{Way: destination.ByFile, Requests: 134, Duration: 96*time.Hour + 16750*time.Millisecond,
				Reason: "file: 134 requests, 97 h, against diff: 100,000 requests, 4 h; the platform cannot replace"},
		},
		"a small static seed": {
			destination.Load{Rows: 50_000, Additions: 50_000, Static: true}, filing,
			destination.Choice{Way: destination.ByDiff, Requests: 50, Duration: 6250 * time.Millisecond,
				Reason: "diff: 50 requests, 7 s; no files below 1,000,000 rows; the platform cannot replace"},
		},
		"an audience that people leave": {
			destination.Load{Rows: 10 * million, Additions: 10 * million}, filing,
			destination.Choice{Way: destination.ByDiff, Requests: 10_000, Duration: 1250 * time.Second,
				Reason: "diff: 10,000 requests, 21 min; no files, because the audience gets changes and each would lock it for up to 48 h; the platform cannot replace"},
		},
		"nothing to do": {
			destination.Load{Rows: 10, Held: 10}, plain,
			destination.Choice{Way: destination.ByDiff, Reason: "diff: 0 requests, 0 s; the platform takes no files; the platform cannot replace"},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, destination.FirstLoad(c.load, c.limits)) })
	}
}

// TestFirstLoadLaws: never more requests than a diff, never a way the platform or the audience does not allow.
func TestFirstLoadLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Int64Range(0, 200_000_000)
		l := destination.Load{Rows: count.Draw(t, "rows"), Additions: count.Draw(t, "additions"), Removals: count.Draw(t, "removals"),
			Held: count.Draw(t, "held"), Static: rapid.Bool().Draw(t, "static")}
		limits := rapid.SampledFrom([]destination.Limits{replacing, filing, plain}).Draw(t, "limits")
		c := destination.FirstLoad(l, limits)
		diff := (l.Additions+int64(limits.Rows)-1)/int64(limits.Rows) + (l.Removals+int64(limits.Rows)-1)/int64(limits.Rows)
		require.LessOrEqual(t, c.Requests, diff)
		require.NotEmpty(t, c.Reason)
		switch c.Way {
		case destination.ByFile:
			require.True(t, l.Static && limits.Files.Bytes > 0)
		case destination.ByReplace:
			require.True(t, l.Held > 0 && l.Rows > 0 && max(l.Rows, l.Held) < limits.Replace.Rows)
			require.LessOrEqual(t, 2*c.Duration, limits.Replace.Within)
		case destination.ByDiff:
			require.Equal(t, diff, c.Requests)
		}
	})
}
