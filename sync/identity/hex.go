package identity

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// hexPairs are the two digits of every byte, the first in the low half.
var hexPairs = func() (pairs [256]uint16) {
	const digits = "0123456789abcdef"
	for b := range pairs {
		pairs[b] = uint16(digits[b>>4]) | uint16(digits[b&15])<<8
	}
	return pairs
}()

// AppendHex appends a digest in lower-case hex, as platforms take it. A row of a request is hardly more than that, so four
// bytes become eight digits in one word; encoding/hex takes three times as long.
func AppendHex(dst []byte, digest string) []byte {
	dst = slices.Grow(dst, 2*len(digest))
	for len(digest) >= 4 {
		word := uint64(hexPairs[digest[0]]) | uint64(hexPairs[digest[1]])<<16 | uint64(hexPairs[digest[2]])<<32 | uint64(hexPairs[digest[3]])<<48
		dst = binary.LittleEndian.AppendUint64(dst, word)
		digest = digest[4:]
	}
	return hex.AppendEncode(dst, []byte(digest))
}

// appendHex is AppendHex of a sum that has not become a string.
func appendHex(dst []byte, sum *[32]byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 64)[:n+64]
	out := (*[64]byte)(dst[n:])
	for i := range 8 {
		b := (*[4]byte)(sum[4*i:])
		binary.LittleEndian.PutUint64(out[8*i:], uint64(hexPairs[b[0]])|uint64(hexPairs[b[1]])<<16|uint64(hexPairs[b[2]])<<32|uint64(hexPairs[b[3]])<<48)
	}
	return dst
}
