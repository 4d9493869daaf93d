package identity

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// oneBlock is how many bytes fit into one block of SHA-256 with their padding (FIPS 180-4, 5.1.1).
const oneBlock = sha256.BlockSize - 9

// summer hashes the short values that identifiers are. sha256.Sum256 takes a third of its time for copying its state and
// for padding by way of further writes. Here the padded block is written whole; the state is then the digest, and what the
// hash encodes of itself holds the state behind a prefix of four bytes. Should that encoding ever change, new finds out
// and Sum256 does the work.
type summer struct {
	hash  hash.Hash
	state encoding.BinaryAppender // of hash; nil to use Sum256
	block [sha256.BlockSize]byte
	used  int // of the block, by the value before; zeros follow up to its length
	coded [128]byte
	long  [sha256.Size]byte
}

func newSummer() *summer {
	s := &summer{hash: sha256.New()}
	s.state, _ = s.hash.(encoding.BinaryAppender)
	for _, v := range []string{"", "abc", "a value of as many bytes as go into one block with pad."} {
		if *s.sum([]byte(v)) != sha256.Sum256([]byte(v)) {
			s.state = nil
		}
	}
	return s
}

// sum is the SHA-256 of v, until the next call.
func (s *summer) sum(v []byte) *[sha256.Size]byte {
	const prefix = 4
	if len(v) <= oneBlock && s.state != nil {
		n := copy(s.block[:], v)
		s.block[n] = 0x80
		if n++; n < s.used {
			clear(s.block[n:s.used])
		}
		s.used = n
		binary.BigEndian.PutUint16(s.block[sha256.BlockSize-2:], uint16(8*len(v)))
		s.hash.Reset()
		_, _ = s.hash.Write(s.block[:])
		coded, err := s.state.AppendBinary(s.coded[:0])
		if err == nil && len(coded) >= prefix+sha256.Size {
			return (*[sha256.Size]byte)(coded[prefix:])
		}
	}
	s.long = sha256.Sum256(v)
	return &s.long
}
