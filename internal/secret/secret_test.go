package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func secretFile(t testing.TB, content string) (*File, string, *strings.Builder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	var log strings.Builder
	return NewFile("token_file", path, 1, slog.New(slog.NewTextHandler(&log, nil))), path, &log
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
		require.Equal(t, []Secret{Secret(want)}, got)
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
				if s, err := f.Read(); err != nil || !strings.HasPrefix(string(s[0]), "token-") {
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
	require.Equal(t, []Secret{"token-0299"}, got)
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
			var e *Error
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, "token_file "+e.Path)
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

// TestSecretShowsItselfToNobody, under whatever verb and in whatever encoding.
func TestSecretShowsItselfToNobody(t *testing.T) {
	s := Secret("canary")
	encoded, err := json.Marshal(map[string]any{"s": s})
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), string(encoded)} {
		require.NotContains(t, shown, "canary")
		require.NotContains(t, shown, fmt.Sprintf("%x", "canary"))
	}
}

// TestNoSecret: a file that is not there, or is none.
func TestNoSecret(t *testing.T) {
	for name, path := range map[string]string{"missing": filepath.Join(t.TempDir(), "nowhere"), "a directory": t.TempDir()} {
		_, err := NewFile("token_file", path, 1, slog.New(slog.DiscardHandler)).Read()
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.NotEmpty(t, e.Remedy, name)
		require.Equal(t, 1, strings.Count(err.Error(), path), name)
	}
}

// TestSeveralSecrets: so that one can be renewed while the other still serves.
func TestSeveralSecrets(t *testing.T) {
	for content, want := range map[string][]Secret{
		"one": {"one"}, " one \r\ntwo\n": {"one", "two"}, "one\ntwo\nthree": nil, "one\n\ntwo": {"one", "two"}, "one two": nil, "": nil,
	} {
		_, path, _ := secretFile(t, content)
		got, err := NewFile("secret", path, 2, slog.New(slog.DiscardHandler)).Read()
		require.Equal(t, want, got, "%q", content)
		require.Equal(t, want == nil, err != nil, "%q", content)
	}
}

// TestGrace: the last good secret serves while its file is empty, for a minute and no longer.
func TestGrace(t *testing.T) {
	f, path, _ := secretFile(t, "one")
	_, err := f.Read()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	got, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, []Secret{"one"}, got)
	f.good = f.good.Add(-grace)
	_, err = f.Read()
	require.ErrorContains(t, err, "empty")
	_, err = f.Read()
	require.Error(t, err, "it does not come back by itself")
	require.NoError(t, os.WriteFile(path, []byte("two"), 0o600))
	got, err = f.Read()
	require.NoError(t, err)
	require.Equal(t, []Secret{"two"}, got)
}

// TestSecretOfTheEnvironment: only of variables that begin as those of secrets do.
func TestSecretOfTheEnvironment(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	t.Setenv("KOHORTA_SECRET_META", " canary \n")
	got, err := NewFile("token_secret", "env:META", 1, log).Read()
	require.NoError(t, err)
	require.Equal(t, []Secret{"canary"}, got)
	t.Setenv("META_TOKEN", "canary")
	_, err = NewFile("token_secret", "env:META_TOKEN", 1, log).Read()
	require.ErrorContains(t, err, "token_secret KOHORTA_SECRET_META_TOKEN: it is empty")
	require.ErrorContains(t, err, "start the service again")
	t.Setenv("KOHORTA_SECRET_TWO", "canary one")
	_, err = NewFile("token_secret", "env:TWO", 1, log).Read()
	require.ErrorContains(t, err, "one line")
	require.NotContains(t, err.Error(), "canary")
}
