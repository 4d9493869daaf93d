package audience

import (
	"regexp"
	"unicode"
	"unicode/utf8"
)

// UserID is the caller's own id of a user: 1 to 256 bytes of UTF-8 without control characters.
type UserID string

// MaxUserIDBytes bounds a UserID; members of a Redis bucket stay small-encoded well below it.
const MaxUserIDBytes = 256

// Validate says what is wrong with the id; the field is named by the caller (see Within).
func (u UserID) Validate() error { return validText("user_id", string(u), MaxUserIDBytes) }

// validText holds for ids a caller chooses freely: not empty, bounded, UTF-8, nothing invisible.
func validText(field, s string, maxBytes int) error {
	switch {
	case s == "":
		return Invalid(field, "is empty; every record needs one")
	case len(s) > maxBytes:
		return Invalid(field, "has %d bytes; at most %d are allowed", len(s), maxBytes)
	case !utf8.ValidString(s):
		return Invalid(field, "is not valid UTF-8; re-encode the input")
	}
	for i, r := range s {
		if unicode.IsControl(r) {
			return Invalid(field, "has a control character (U+%04X) at byte %d; remove it", r, i)
		}
	}
	return nil
}

// Ids of resources are slugs: they stand in URLs, expressions and file names.
type (
	// SegmentID is a segment's, e.g. "champions".
	SegmentID string
	// ModelID is a model's, e.g. "rfm".
	ModelID string
	// DestinationID is a destination's, e.g. "meta-main".
	DestinationID string
	// AudienceID is an audience's, e.g. "champions-meta".
	AudienceID string
	// LookalikeID is a platform lookalike's, e.g. "champions-like".
	LookalikeID string
	// RunID is a run's, a UUIDv7 in text form.
	RunID string
)

// Number is the short form of a resource's id inside tables and Redis: assigned once, from 1, never used again.
type Number uint32

var slug = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// ValidSlug says what is wrong with a resource id.
func ValidSlug(field, s string) error {
	if !slug.MatchString(s) {
		return Invalid(field, "%.80q is not an id: use 1 to 63 of a-z, 0-9, - and _, starting with a letter", s)
	}
	return nil
}

var secretName = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]{0,99}|env:[A-Z][A-Z0-9_]{0,99})$`)

// IsSecretName reports whether s can name a secret: a file of the secrets directory, leading nowhere else, or env:NAME, which is
// the variable KOHORTA_SECRET_NAME of the service's environment; no other variable can be named.
func IsSecretName(s string) bool { return secretName.MatchString(s) }
