package expr

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentedExamples checks every example of the documentation, and that it shows every function and operator.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/expressions.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```cel\n(.*?)\n```").FindAllSubmatch(page, -1)
	require.NotEmpty(t, blocks)
	shown := ""
	for _, block := range blocks {
		source := string(block[1])
		_, err := Parse(source)
		require.NoError(t, err)
		shown += source + "\n"
	}
	for name := range usage {
		if name == "endsWith" || name == "contains" { // beside startsWith
			continue
		}
		require.Regexp(t, `\b`+name+`\(`, shown)
	}
	for _, name := range append(fieldNames(), "value", "now", "prop", "attr") {
		require.Contains(t, string(page), name)
	}
	for hint := range usage {
		require.Contains(t, string(page), hint)
	}
}
