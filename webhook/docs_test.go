package webhook_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/secret"
	"github.com/kohorta/kohorta/webhook"
)

// snippet is the one block of a language in docs/webhooks.md that holds a text.
func snippet(t *testing.T, language, with string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/webhooks.md")
	require.NoError(t, err)
	for _, block := range strings.Split(string(text), "```"+language+"\n")[1:] {
		if code, _, closed := strings.Cut(block, "```"); closed && strings.Contains(code, with) {
			return code
		}
	}
	t.Fatalf("no block %s with %s", language, with)
	return ""
}

// run runs a program in a directory, if the machine has all that it needs.
func run(t *testing.T, dir string, needs []string, args ...string) string {
	t.Helper()
	for _, program := range needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	command := exec.CommandContext(t.Context(), needs[0], args...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestSigningByShell: the example for copying moves a user.
func TestSigningByShell(t *testing.T) {
	h := newHouse(t)
	server := httptest.NewServer(h.receiver(t, nil))
	defer server.Close()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "secrets"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secrets", "crm-secret"), []byte(crmSecret+"\nthe-one-before-0123456789\n"), 0o600))
	code := strings.NewReplacer("http://127.0.0.1:7680", server.URL, `"champions"`, `"vip"`, "CG-12520", "user-1").Replace(snippet(t, "sh", "openssl"))
	require.Contains(t, run(t, dir, []string{"sh", "openssl", "curl", "sed", "date", "head"}, "-c", code), `"segments":["segments/vip"]`)
}

// TestVerifyingByPython: the example for copying takes what is signed, and nothing else.
func TestVerifyingByPython(t *testing.T) {
	const other = "another-secret-0123456789"
	body := `{"changes": []}`
	for name, c := range map[string]struct {
		secrets []secret.Secret
		at      time.Time
		body    string
		genuine bool
	}{
		"one secret":   {[]secret.Secret{crmSecret}, time.Now(), body, true},
		"two secrets":  {[]secret.Secret{other, crmSecret}, time.Now(), body, true},
		"another":      {[]secret.Secret{other}, time.Now(), body, false},
		"old":          {[]secret.Secret{crmSecret}, time.Now().Add(-time.Hour), body, false},
		"another body": {[]secret.Secret{crmSecret}, time.Now(), body + " ", false},
	} {
		t.Run(name, func(t *testing.T) {
			timestamp := strconv.FormatInt(c.at.Unix(), 10)
			code := snippet(t, "python", "compare_digest") + fmt.Sprintf("\nprint(genuine(%q, {'Kohorta-Timestamp': %q, 'Kohorta-Signature': %q}, %q.encode()))\n",
				crmSecret, timestamp, webhook.Sign(c.secrets, timestamp, []byte(c.body)), body)
			want := map[bool]string{true: "True\n", false: "False\n"}[c.genuine]
			require.Equal(t, want, run(t, t.TempDir(), []string{"python3"}, "-c", code))
		})
	}
}
