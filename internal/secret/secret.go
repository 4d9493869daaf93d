// Package secret reads tokens and keys from files, anew when the files change, or from the environment. What it reads shows itself to nobody, and
// neither does an error about it.
package secret

import (
	"errors"
	"fmt"
	"io"
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

// Error is why there is no secret in a file. It names the setting and the file, never what stands in it.
type Error struct {
	Setting string // that names the file
	Path    string // or the name of the variable
	Remedy  string // what a person can do
	Err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %v; %s", e.Setting, e.Path, e.Err, e.Remedy)
}
func (e *Error) Unwrap() error { return e.Err }

// maxBytes bounds the file of a secret; the tokens of platforms have a few hundred.
const maxBytes = 8192

// read reads the secrets of a file, 1 to most of them, one a line, without the white space around them.
func read(path string, most int) (secrets []Secret, info os.FileInfo, remedy string, err error) {
	data, info, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, "write the secret to this file", withoutPath(err)
	case err != nil:
		return nil, nil, "make it a file with the secret alone, readable for the service", withoutPath(err)
	}
	secrets, remedy, err = parse(string(data), most)
	return secrets, info, remedy, err
}

// parse reads secrets from the lines of a text.
func parse(text string, most int) (secrets []Secret, remedy string, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, Secret(line))
		}
	}
	if len(secrets) == 0 {
		return nil, "write the secret to it", errors.New("it is empty")
	}
	for _, secret := range secrets {
		switch {
		case len(secrets) > most, strings.ContainsFunc(string(secret), func(r rune) bool { return r <= ' ' || r > '~' }):
			if most > 1 {
				return nil, fmt.Sprintf("write 1 to %d secrets, each alone on one line", most), errors.New("it holds more than secrets")
			}
			return nil, "write the secret alone, on one line", errors.New("it holds more than one word")
		case strings.Trim(string(secret), `"'`) != string(secret):
			return nil, "write the secret alone, without quotes", errors.New("the secret stands in quotes")
		}
	}
	return secrets, "", nil
}

// withoutPath is an error of a file without its path.
func withoutPath(err error) error {
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		return withPath.Err
	}
	return err
}

// readFile reads a small file and says which one it was.
func readFile(path string) ([]byte, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = errors.New("the file is too long to be a secret")
	}
	return data, info, err
}
