package live

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/kohorta/kohorta/internal/audience"
)

// pack writes the segments, ascending, as unsigned varints of the distance to the one before: four segments of fifty
// are four bytes.
func pack(segments []audience.Number) []byte {
	packed := make([]byte, 0, 2*len(segments))
	var last audience.Number
	for _, s := range segments {
		packed = binary.AppendUvarint(packed, uint64(s-last))
		last = s
	}
	return packed
}

// unpack is the inverse of pack.
func unpack(packed string) ([]audience.Number, error) {
	if packed == "" {
		return nil, nil
	}
	segments := make([]audience.Number, 0, len(packed))
	var last uint64
	for b := []byte(packed); len(b) > 0; {
		step, n := binary.Uvarint(b)
		if n <= 0 || step == 0 || step > math.MaxUint32-last {
			return nil, errors.New("a packed membership is damaged")
		}
		last += step
		segments = append(segments, audience.Number(last))
		b = b[n:]
	}
	return segments, nil
}
