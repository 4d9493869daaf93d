package destination

import (
	"encoding/binary"
	"encoding/hex"
)

// AppendHex appends a digest in lower-case hex, as platforms take it. A row of a request is hardly more than that, so four
// bytes become eight digits at a time, inside one word; encoding/hex takes twice as long.
func AppendHex(dst []byte, digest string) []byte {
	const every = 0x0101010101010101 // a byte, at every place of a word
	for len(digest) >= 4 {
		x := uint64(digest[0]) | uint64(digest[1])<<8 | uint64(digest[2])<<16 | uint64(digest[3])<<24
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		x = (x>>4 | x<<8) & (0x0f * every)      // one nibble a byte, the high one first
		letters := ((x + 6*every) >> 4) & every // 1 where the nibble is 10 or more
		dst = binary.LittleEndian.AppendUint64(dst, x+'0'*every+letters*('a'-'0'-10))
		digest = digest[4:]
	}
	return hex.AppendEncode(dst, []byte(digest))
}
