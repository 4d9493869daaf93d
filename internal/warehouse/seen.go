package warehouse

import "math/bits"

// seen answers whether a 64-bit hash may have been added before, and never says no wrongly. It is a chain of blocked Bloom
// filters (Putze, Sanders and Singler 2007), each twice the size of the one before, so that it grows without knowing
// the hashes again (Almeida et al. 2007). The zero value is empty and ready. Not safe for concurrent use.
//
// At 32 bits a hash about 5 of a million new hashes are taken for old ones (TestSeenFalsePositives): a wrong "maybe" costs
// a look into every partition of events, so memory is spent on having few.
type seen struct{ filters []seenFilter }

const (
	seenFirst      = 1 << 20 // hashes the first filter of a chain is made for: 4 MB
	hashesPerBlock = 16      // of 512 bits: 32 bits a hash
)

// seenBlock is one cache line; a hash sets two bits in each of its words.
type seenBlock [8]uint64

type seenFilter struct {
	blocks []seenBlock
	room   int // hashes it still takes before it says "maybe" too often
}

func newSeenFilter(hashes int) seenFilter {
	blocks := (hashes + hashesPerBlock - 1) / hashesPerBlock
	return seenFilter{blocks: make([]seenBlock, max(blocks, 1)), room: hashes}
}

// add adds the hash and reports whether it may have been there before.
func (s *seen) add(hash uint64) (maybe bool) {
	if s.has(hash) {
		return true
	}
	if n := len(s.filters); n == 0 || s.filters[n-1].room <= 0 {
		s.filters = append(s.filters, newSeenFilter(seenFirst<<n))
	}
	s.filters[len(s.filters)-1].add(hash)
	return false
}

func (s *seen) has(hash uint64) bool {
	for i := range s.filters {
		if s.filters[i].has(hash) {
			return true
		}
	}
	return false
}

func (f *seenFilter) add(hash uint64) {
	block, bitsOf := f.block(hash), spread(hash)
	for i := range block {
		block[i] |= bitsOf.word(i)
	}
	f.room--
}

func (f *seenFilter) has(hash uint64) bool {
	block, bitsOf := f.block(hash), spread(hash)
	for i := range block {
		if word := bitsOf.word(i); block[i]&word != word {
			return false
		}
	}
	return true
}

// block picks by the high bits of a remix, since the low ones of the hash choose the bits inside.
func (f *seenFilter) block(hash uint64) *seenBlock {
	i, _ := bits.Mul64(hash*0x9e3779b97f4a7c15, uint64(len(f.blocks)))
	return &f.blocks[i]
}

// spreadBits are 16 positions of 6 bits, two for each word of a block.
type spreadBits struct{ first, second uint64 }

func spread(hash uint64) spreadBits {
	high, low := bits.Mul64(hash, 0xd6e8feb86659fd93)
	return spreadBits{high ^ low, hash}
}

func (b spreadBits) word(i int) uint64 {
	shift := 6 * i
	return 1<<(b.first>>shift&63) | 1<<(b.second>>shift&63)
}
