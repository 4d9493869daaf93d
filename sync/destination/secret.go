package destination

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Secret is a token or key. It shows itself to nobody.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string { return redacted }

// Format redacts under every verb, those for numbers included.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText redacts in JSON and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ReadSecret reads a secret from its file, without the white space around it. Connectors read it for each request, so
// that a renewed one is in force at once. The error, an Unauthorized *Error, names the setting and the file.
func ReadSecret(setting, path string) (Secret, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	secret := strings.TrimSpace(string(data))
	var remedy string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "write the secret to this file"
	case err != nil:
		remedy = "make the file readable for the service"
	case secret == "":
		err, remedy = errors.New("the file is empty"), "write the secret to it"
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		err, remedy = errors.New("the file holds more than one word"), "write the secret alone, on one line"
	default:
		return Secret(secret), nil
	}
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		err = withPath.Err
	}
	return "", &Error{Kind: Unauthorized, Scope: OfAccount, Remedy: remedy, Err: fmt.Errorf("%s %s: %w", setting, path, err)}
}
