package main

import (
	"path/filepath"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/secret"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// connect makes the connector of a destination.
func (s *service) connect(d audience.Destination) (destination.Destination, error) {
	switch d.Platform {
	case audience.PlatformMeta:
		return meta.New(meta.Config{
			Account: d.Account, TokenFile: s.secretPath(d.TokenSecret), AppSecretFile: s.secretPath(d.AppSecret), BaseURL: d.BaseURL,
			Version: d.APIVersion, Columns: d.Columns, BatchRows: d.BatchRows, RequestsPerSecond: d.RequestsPerS,
		}, s.log)
	case audience.PlatformTikTok:
		return tiktok.New(tiktok.Config{
			Account: d.Account, TokenFile: s.secretPath(d.TokenSecret), BaseURL: d.BaseURL, EmailMode: d.EmailMode,
			BatchRows: d.BatchRows, RequestsPerSecond: d.RequestsPerS,
		}, s.log)
	}
	return nil, audience.Invalid("platform", "%q is not meta or tiktok", d.Platform)
}

// checkDestination says what the connector of a destination would not work with.
func (s *service) checkDestination(d audience.Destination) error {
	_, err := s.connect(d)
	return err
}

// secretPath is where a secret is: a file in the secrets directory, named without a path, or a variable; "" for none.
func (s *service) secretPath(name string) string {
	if name == "" || strings.HasPrefix(name, secret.Env) {
		return name
	}
	return filepath.Join(s.config.SecretsDir, filepath.Base(name))
}
