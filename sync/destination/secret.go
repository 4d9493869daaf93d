package destination

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/kohorta/kohorta/internal/secret"
)

// Secret is a token or key. It shows itself to nobody.
type Secret = secret.Secret

// SecretFile is a secret in a file, read anew when the file has changed. It is safe for concurrent use.
type SecretFile struct{ file *secret.File }

// NewSecretFile names the file that a setting gives. It opens nothing.
func NewSecretFile(setting, path string, log *slog.Logger) *SecretFile {
	return &SecretFile{secret.NewFile(setting, path, 1, log)}
}

// Read gives the secret. The error, an Unauthorized *Error, names the setting and the file, and what is wrong with it,
// never what stands in it.
func (f *SecretFile) Read() (Secret, error) {
	secrets, err := f.file.Read()
	var wrong *secret.Error
	if errors.As(err, &wrong) {
		return "", &Error{Kind: Unauthorized, Scope: OfAccount, Remedy: wrong.Remedy, Err: fmt.Errorf("%s %s: %w", wrong.Setting, wrong.Path, wrong.Err)}
	}
	return secrets[0], nil
}

// Outdated makes an Unauthorized err, of a request that was sent with the secret used, Transient if the file holds another
// by now: sent again, the request carries that. Other errors stay as they are.
func (f *SecretFile) Outdated(used Secret, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Unauthorized {
		return err
	}
	if now, readErr := f.Read(); readErr == nil && now != used {
		e.Kind, e.Scope, e.Remedy = Transient, OfRequest, ""
	}
	return err
}
