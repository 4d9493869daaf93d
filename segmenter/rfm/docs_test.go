package rfm_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// TestDocumentedTables holds the tables of docs/scoring.md to the code.
func TestDocumentedTables(t *testing.T) {
	for _, preset := range []string{rfm.PresetDefault, rfm.PresetRFMPackage} {
		model, err := rfm.Config{SegmentPreset: preset}.Fit([]rfm.Values{{Frequency: 1}})
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(model.Rules, documented(t, "`SEGMENT_PRESET_"+strings.ToUpper(preset)+"` ")), preset)
	}
}

// documented reads the first table below the paragraph that begins so.
func documented(t *testing.T, begins string) (rules []rfm.Rule) {
	text, err := os.ReadFile("../../docs/scoring.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "\n"+begins)
	require.True(t, found, "no paragraph begins with %s", begins)
	_, after, _ = strings.Cut(after, "\n|---|")
	table, _, _ := strings.Cut(after, "\n\n")
	for _, line := range strings.Split(table, "\n")[1:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		rules = append(rules, rfm.Rule{Segment: cells[0],
			Recency: documentedRange(t, cells[1]), Frequency: documentedRange(t, cells[2]), Monetary: documentedRange(t, cells[3])})
	}
	return rules
}

func documentedRange(t *testing.T, text string) rfm.Range {
	if text == "any" {
		return rfm.Range{}
	}
	low, high, isRange := strings.Cut(text, "–")
	if !isRange {
		high = low
	}
	first, err := strconv.Atoi(low)
	require.NoError(t, err)
	last, err := strconv.Atoi(high)
	require.NoError(t, err)
	return rfm.Range{first, last}
}
