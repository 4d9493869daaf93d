package identity

import (
	"crypto/sha256"
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

// AppendHex appends a digest in lower-case hex, as platforms take it. A row of a request is hardly more than that;
// encoding/hex takes four times as long.
func AppendHex(dst []byte, digest string) []byte {
	if len(digest) != sha256.Size {
		return hex.AppendEncode(dst, []byte(digest))
	}
	return appendHex(dst, digest)
}

// appendHex appends the digits of 32 bytes, eight in a word. Written out: a loop would check its bounds and take twice as
// long.
func appendHex[T string | []byte](dst []byte, sum T) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 2*sha256.Size)[:n+2*sha256.Size]
	digits, sum := (*[2 * sha256.Size]byte)(dst[n:]), sum[:sha256.Size]
	word := func(i int) uint64 {
		return uint64(hexPairs[sum[i]]) | uint64(hexPairs[sum[i+1]])<<16 | uint64(hexPairs[sum[i+2]])<<32 | uint64(hexPairs[sum[i+3]])<<48
	}
	binary.LittleEndian.PutUint64(digits[0:], word(0))
	binary.LittleEndian.PutUint64(digits[8:], word(4))
	binary.LittleEndian.PutUint64(digits[16:], word(8))
	binary.LittleEndian.PutUint64(digits[24:], word(12))
	binary.LittleEndian.PutUint64(digits[32:], word(16))
	binary.LittleEndian.PutUint64(digits[40:], word(20))
	binary.LittleEndian.PutUint64(digits[48:], word(24))
	binary.LittleEndian.PutUint64(digits[56:], word(28))
	return dst
}
