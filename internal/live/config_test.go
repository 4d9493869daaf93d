package live_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/live"
)

func TestBadConfig(t *testing.T) {
	one := []string{"127.0.0.1:1"}
	noPEM := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(noPEM, nil, 0o600))
	for name, test := range map[string]struct {
		config live.Config
		says   string
	}{
		"no address":            {live.Config{}, "addresses: "},
		"database of a cluster": {live.Config{Addresses: one, Cluster: true, Database: 1}, "database: "},
		"prefix with a pattern": {live.Config{Addresses: one, Prefix: "a*"}, "prefix: "},
		"tls not enabled":       {live.Config{Addresses: one, TLS: live.TLS{CAFile: "x"}}, "tls.enabled: "},
		"certificate alone":     {live.Config{Addresses: one, TLS: live.TLS{Enabled: true, CertFile: "x"}}, "tls.key_file: "},
		"no password file":      {live.Config{Addresses: one, PasswordFile: "/nowhere"}, "password_file: "},
		"no authorities":        {live.Config{Addresses: one, TLS: live.TLS{Enabled: true, CAFile: noPEM}}, "tls.ca_file: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := live.Open(t.Context(), test.config, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	s, err := live.Open(t.Context(), live.Config{Addresses: []string{"127.0.0.1:1"}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err, "Redis may come later")
	defer func() { require.NoError(t, s.Close()) }()
	for name, ask := range map[string]func() error{
		"get":     func() error { _, err := s.Get(t.Context(), "a"); return err },
		"batch":   func() error { _, err := s.Batch(t.Context(), []audience.UserID{"a"}); return err },
		"version": func() error { _, err := s.Version(t.Context()); return err },
		"ping":    func() error { return s.Ping(t.Context()) },
		"apply":   func() error { return s.Apply(t.Context(), make([]audience.Change, 1)) },
	} {
		var unavailable *audience.UnavailableError
		require.ErrorAs(t, ask(), &unavailable, name)
		require.Equal(t, "redis", unavailable.What, name)
	}
}
