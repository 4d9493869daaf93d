package destination

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kohorta/kohorta/internal/secret"
)

// Secret is a token or key. It shows itself to nobody.
type Secret = secret.Secret

// SecretFile is a secret in a file, read anew when the file has changed. It is safe for concurrent use.
type SecretFile struct {
	file *secret.File

	mu         sync.Mutex
	last       Secret // "" for none
	generation uint64
}

// NewSecretFile names the file that a setting gives. It opens nothing.
func NewSecretFile(setting, path string, log *slog.Logger) *SecretFile {
	return &SecretFile{file: secret.NewFile(setting, path, 1, log)}
}

// Generation rises when the secret has become another one, or has become good or bad, since the last call.
func (f *SecretFile) Generation() uint64 {
	now, _ := f.Read() // "" when there is none
	f.mu.Lock()
	defer f.mu.Unlock()
	if now != f.last {
		f.last = now
		f.generation++
	}
	return f.generation
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
