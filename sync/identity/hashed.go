package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// Digests that only a bug makes: of the empty string, and of the device id of people who do not want to be tracked.
const (
	digestOfNothing = "\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55"
	digestOfZeros   = "\x12\xb9\x37\x7c\xbe\x7e\x5c\x94\xe8\xa7\x0d\x9d\x23\x92\x95\x23\xd1\x4a\xfa\x95\x47\x93\x13\x0f\x8a\x39\x59\xc7\xb8\x49\xac\xa8"
)

// takeHashed adds the identifiers of a value that is a digest already.
func (h *Hasher) takeHashed(ids []audience.Identifier, in Input, value string, drop dropFunc) []audience.Identifier {
	schemes := hashedSchemesOf(in.Field)
	if in.Scheme != "" {
		schemes = []audience.Scheme{in.Scheme}
	}
	digest, reason := parseDigest(value)
	switch {
	case in.Scheme != "" && !slices.Contains(schemesOf(in.Field), in.Scheme):
		reason = "the scheme named is not one of this field"
	case in.Field == MADID || slices.ContainsFunc(schemes, inClear):
		reason = "Meta takes device ids in the clear; send it unhashed"
	case in.Field == Phone && in.Scheme == "":
		reason = "a hashed phone must name its scheme: meta:PHONE is the digits without +, tiktok:PHONE_SHA256 with it"
	case schemes == nil:
		reason = "this field cannot be sent hashed"
	}
	if reason != "" {
		drop(reason, schemes...)
		return ids
	}
	for _, s := range schemes {
		ids = append(ids, audience.Identifier{Scheme: s, Value: digest})
	}
	return ids
}

// takeUnmarked handles a value given as clear that looks hashed: Meta's rule takes it as a digest, TikTok's refuses it
// (sheets 3.3 and 6). Of a phone nobody can tell whether the + was hashed along, so it is refused for both.
func (h *Hasher) takeUnmarked(ids []audience.Identifier, f Field, value string, drop dropFunc) []audience.Identifier {
	const reason = "looks hashed but is not marked as hashed"
	schemes := schemesOf(f)
	if slices.Contains([]Field{Phone, BirthDate, IDFA, GAID, MADID}, f) || schemes == nil {
		drop(reason, schemes...)
		return ids
	}
	if len(schemes) > 1 {
		drop(reason, schemes[1:]...)
	}
	return h.takeHashed(ids, Input{Field: f, Hashed: true, Scheme: schemes[0]}, value, drop)
}

// isDigest reports whether v is 64 hexadecimal digits.
func isDigest(v string) bool {
	if len(v) != 2*sha256.Size {
		return false
	}
	_, err := hex.DecodeString(v)
	return err == nil
}

// parseDigest turns the hexadecimal digits of a SHA-256, in either case, into its 32 bytes.
func parseDigest(v string) (digest, reason string) {
	raw, err := hex.DecodeString(v)
	switch {
	case err == nil && (len(raw) == 16 || len(raw) == 20):
		return "", "is an MD5 or SHA-1; platforms match by SHA-256"
	case err != nil || len(raw) != sha256.Size:
		return "", "is not a SHA-256 of 64 hexadecimal digits"
	case string(raw) == digestOfNothing:
		return "", "is the SHA-256 of nothing"
	case string(raw) == digestOfZeros:
		return "", "is the SHA-256 of the device id of people who limit ad tracking"
	}
	return string(raw), ""
}
