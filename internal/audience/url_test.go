package audience_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestCheckURL: nothing leaves the machine in the clear.
func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://graph.example.com", "https://10.0.0.1:8443/x", "http://127.0.0.1:9090", "http://[::1]:9090", "http://localhost",
		"http://meta.localhost:80"} {
		var v audience.Violations
		audience.CheckURL(&v, "url", good, "")
		require.NoError(t, v.Err(), good)
	}
	for bad, words := range map[string]string{
		"http://example.invalid": "in the clear", "http://10.0.0.1": "in the clear", "http://localhost.example.com": "in the clear",
		"http://127.0.0.1.example.com": "in the clear", "graph.example.com": "such as https://x", "ftp://localhost": "such as https://x",
		"https://me:secret@x": "such as https://x", "https://x/?token=1": "such as https://x", "https://": "such as https://x", "": "such as https://x",
	} {
		var v audience.Violations
		audience.CheckURL(&v, "url", bad, "https://x")
		require.ErrorContains(t, v.Err(), words, bad)
		require.Equal(t, "url", v[0].Field)
	}
}
