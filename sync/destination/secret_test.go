package destination_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/sync/destination"
)

func secretFile(t testing.TB, content string) (*destination.SecretFile, string, *strings.Builder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	var log strings.Builder
	return destination.NewSecretFile("token_file", path, slog.New(slog.NewTextHandler(&log, nil))), path, &log
}

// TestSecretBad: what is wrong with a file stops the account, with the remedy, and never says what stands in it.
func TestSecretBad(t *testing.T) {
	f, path, log := secretFile(t, "canary one\ncanary two")
	_, err := f.Read()
	var e *destination.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, destination.Unauthorized, e.Kind)
	require.Equal(t, destination.OfAccount, e.Scope)
	require.ErrorContains(t, err, "token_file "+path)
	require.ErrorContains(t, err, "one line")
	require.NotEmpty(t, e.Remedy)
	require.NotContains(t, err.Error()+log.String(), "canary")
}

// TestOutdated: a request refused because the token was renewed while it was under way is sent again, and no other.
func TestOutdated(t *testing.T) {
	f, path, _ := secretFile(t, "old")
	used, err := f.Read()
	require.NoError(t, err)
	refused := func() *destination.Error {
		return &destination.Error{Kind: destination.Unauthorized, Scope: destination.OfApp, Remedy: "renew it"}
	}
	var e *destination.Error
	require.ErrorAs(t, f.Outdated(used, refused()), &e)
	require.Equal(t, destination.Unauthorized, e.Kind, "the same token")
	require.NoError(t, os.WriteFile(path, []byte("new"), 0o600))
	require.ErrorAs(t, f.Outdated(used, refused()), &e)
	require.Equal(t, destination.Transient, e.Kind)
	require.NoError(t, f.Outdated(used, nil))
	gone := &destination.Error{Kind: destination.Gone}
	require.ErrorAs(t, f.Outdated(used, gone), &e)
	require.Equal(t, destination.Gone, e.Kind)
}

// TestGeneration rises when the secret is another one, or is there again, and at nothing else.
func TestGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	f := destination.NewSecretFile("token_file", path, slog.New(slog.DiscardHandler))
	none := f.Generation()
	require.Equal(t, none, f.Generation())
	write("one")
	one := f.Generation()
	require.Greater(t, one, none)
	write("one\n")
	require.Equal(t, one, f.Generation())
	write("two")
	require.Greater(t, f.Generation(), one)
}
