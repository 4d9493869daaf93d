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

// maxSecretBytes bounds a secret; the tokens of platforms have a few hundred.
const maxSecretBytes = 8192

// ReadSecret reads a secret from its file, without the white space around it. The error, an Unauthorized *Error, names the
// setting and the file, and what is wrong with it, never what stands in it.
func ReadSecret(setting, path string) (Secret, error) {
	secret, _, err := readSecret(setting, path)
	return secret, err
}

func readSecret(setting, path string) (Secret, os.FileInfo, error) {
	data, info, err := readFile(path)
	secret := strings.TrimSpace(string(data))
	var remedy string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "write the secret to this file"
	case err != nil:
		remedy = "make it a file with the secret alone, readable for the service"
	case secret == "":
		err, remedy = errors.New("the file is empty"), "write the secret to it"
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		err, remedy = errors.New("the file holds more than one word"), "write the secret alone, on one line"
	case strings.Trim(secret, `"'`) != secret:
		err, remedy = errors.New("the secret stands in quotes"), "write the secret alone, without quotes"
	default:
		return Secret(secret), info, nil
	}
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		err = withPath.Err
	}
	return "", nil, &Error{Kind: Unauthorized, Scope: OfAccount, Remedy: remedy, Err: fmt.Errorf("%s %s: %w", setting, path, err)}
}
