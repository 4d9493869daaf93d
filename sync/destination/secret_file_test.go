package destination_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// age makes a file look older than any doubt about its time stamp.
func age(t testing.TB, path string) {
	t.Helper()
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, past, past))
}

// TestSecretRenewed: written in place, moved into its place, of the same length, a moment after the last time.
func TestSecretRenewed(t *testing.T) {
	f, path, log := secretFile(t, "canary-one")
	read := func(want string) {
		t.Helper()
		got, err := f.Read()
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	read("canary-one")
	require.NoError(t, os.WriteFile(path, []byte("canary-two"), 0o600))
	read("canary-two")
	age(t, path)
	read("canary-two")
	read("canary-two")
	aside := path + ".new"
	require.NoError(t, os.WriteFile(aside, []byte("canary-six"), 0o600))
	age(t, aside)
	require.NoError(t, os.Rename(aside, path))
	read("canary-six")
	require.Equal(t, 2, strings.Count(log.String(), "secret renewed"))
	require.NotContains(t, log.String(), "canary")
}

// TestSecretRotationUnderLoad: while the file is rewritten in place, and so is empty at times, no reader goes without.
func TestSecretRotationUnderLoad(t *testing.T) {
	f, path, _ := secretFile(t, "token-0000")
	_, err := f.Read()
	require.NoError(t, err)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if s, err := f.Read(); err != nil || !strings.HasPrefix(string(s), "token-") {
					t.Errorf("no token: %v", err)
					return
				}
			}
		})
	}
	for i := range 300 {
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "token-%04d", i), 0o600))
	}
	close(stop)
	readers.Wait()
	got, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, "token-0299", string(got))
}

// TestSecretBad: what is wrong with a file, with the remedy, and never what stands in it.
func TestSecretBad(t *testing.T) {
	for name, c := range map[string]struct{ content, words string }{
		"empty":          {" \n", "empty"},
		"two words":      {"canary one", "one line"},
		"two lines":      {"canary\ncanary", "one line"},
		"quotes":         {`"canary"`, "without quotes"},
		"not ASCII":      {"canary-ż", "one line"},
		"a whole book":   {strings.Repeat("canary", 10_000), "too long"},
		"a NUL":          {"canary\x00", "one line"},
		"a header of it": {"Bearer canary", "one line"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, log := secretFile(t, c.content)
			_, err := f.Read()
			var e *destination.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, destination.Unauthorized, e.Kind)
			require.ErrorContains(t, err, c.words)
			require.NotEmpty(t, e.Remedy)
			require.NotContains(t, err.Error()+log.String(), "canary")
		})
	}
}

// TestSecretOpenToAll is warned of, once, and taken.
func TestSecretOpenToAll(t *testing.T) {
	f, path, log := secretFile(t, "canary-one")
	require.NoError(t, os.Chmod(path, 0o644))
	for range 3 {
		_, err := f.Read()
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	require.NotContains(t, log.String(), "canary")
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

func BenchmarkSecretFile(b *testing.B) {
	f, path, _ := secretFile(b, "token")
	age(b, path)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
