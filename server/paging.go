package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/kohorta/kohorta/internal/audience"
)

// Sizes of a page.
const (
	defaultPageSize = 50
	maxPageSize     = 1000
)

// page is which part of a list a request asks for.
type page struct {
	size  int
	after string // position: the id of the last item seen; "" at the beginning
	scope []string
}

// pageOf reads a request's page. The scope is what the list is of, filters included: a token serves only its own.
func pageOf(size int32, token string, scope ...string) (page, error) {
	if size < 0 {
		return page{}, audience.Invalid("page_size", "is negative; 0 means %d, the most is %d", defaultPageSize, maxPageSize)
	}
	if size == 0 {
		size = defaultPageSize
	}
	after, err := position("page_token", token, scope...)
	return page{size: min(int(size), maxPageSize), after: after, scope: scope}, err
}

// cut takes what a store gave for a page when asked for one item more than its size, and gives the page's items and the
// token of the next one.
func cut[T any](p page, items []T, id func(T) string) ([]T, string) {
	if len(items) <= p.size {
		return items, ""
	}
	items = items[:p.size]
	return items, tokenAt(id(items[len(items)-1]), p.scope...)
}

// tokenAt is an opaque token of a position within a scope.
func tokenAt(position string, scope ...string) string {
	return base64.RawURLEncoding.EncodeToString(append(scopeMark(scope), position...))
}

// position is where a token of this scope points; "" for no token. Any other text is an InvalidError of the field.
func position(field, token string, scope ...string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	mark := scopeMark(scope)
	if err != nil || !bytes.HasPrefix(raw, mark) || len(raw) == len(mark) {
		return "", audience.Invalid(field, "is not of this list or its filters have changed; begin again without it")
	}
	return string(raw[len(mark):]), nil
}

// scopeMark is 8 bytes that differ between scopes.
func scopeMark(scope []string) []byte {
	hash := sha256.New()
	for _, part := range scope {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(part))) // a hash takes everything
		hash.Write([]byte(part))
	}
	return hash.Sum(nil)[:8]
}
