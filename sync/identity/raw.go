package identity

import (
	"fmt"
	"log/slog"
)

// Raw is something personal as a caller gave it: an e-mail, a phone, a name, or a digest of one. It shows itself to
// nobody: printed, logged or encoded it is [redacted]. It must not be the key of a map, which encoders write as it is.
type Raw string

const redacted = "[redacted]"

func (Raw) String() string { return redacted }

// GoString redacts for those who ask for it without fmt.
func (Raw) GoString() string { return redacted }

// Format redacts under every verb, those for numbers included.
func (Raw) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText redacts in JSON and the like.
func (Raw) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts in logs.
func (Raw) LogValue() slog.Value { return slog.StringValue(redacted) }
