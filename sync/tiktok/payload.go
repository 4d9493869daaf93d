package tiktok

import (
	"math/bits"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// Parts of a row with one identifier (2.2): [{"id":"<64 hex digits>","audience_ids":["<up to 20 digits>"]}],
const (
	rowStart  = `[{"id":"`
	rowMiddle = `","audience_ids":["`
	rowEnd    = `"]}]`

	rowBytes      = len(rowStart) + 64 + len(rowMiddle) + 20 + len(rowEnd) + len(",")
	envelopeBytes = 256 // all around the rows
)

// appendPayload appends the body of a mapping request. An identifier that stands twice is sent once (2.2, row rule 5).
func appendPayload(dst []byte, account, audienceID string, b *destination.Batch) []byte {
	dst = append(appendHead(dst, account, b.Op, b.Schema[0]), rowStart...)
	end := rowMiddle + audienceID + rowEnd
	between := end + "," + rowStart
	sent := newDigests(b.Rows)
	for i := range b.Rows {
		switch {
		case !sent.add(i):
			continue
		case i > 0:
			dst = append(dst, between...)
		}
		dst = identity.AppendHex(dst, b.Rows[i].Identifiers[0].Value)
	}
	return append(append(dst, end...), payloadEnd...)
}

// Between appendHead and payloadEnd stand the rows, commas between them.
const payloadEnd = `]}`

func appendHead(dst []byte, account string, op destination.Op, s audience.Scheme) []byte {
	action := "add"
	if op == destination.Remove {
		action = "delete"
	}
	dst = append(append(dst, `{"advertiser_ids":["`...), account...)
	dst = append(append(dst, `"],"action":"`...), action...)
	dst = append(append(dst, `","id_schema":["`...), idSchemas[s]...)
	return append(dst, `"],"batch_data":[`...)
}

// digests is a set of the rows' digests. Their bytes are spread evenly already, so a few of them are the place in the
// table; a map of strings would take longer than writing the row.
type digests struct {
	rows  []destination.Row
	table []uint16 // numbers of rows, from 1, of at most 10,000; open addressing, at most a quarter full
}

func newDigests(rows []destination.Row) digests {
	return digests{rows, make([]uint16, 4<<bits.Len(uint(len(rows))))}
}

// add puts the digest of the i-th row in and reports whether it is new.
func (d digests) add(i int) bool {
	digest := d.rows[i].Identifiers[0].Value
	var place uint32
	if len(digest) >= 4 {
		place = uint32(digest[0]) | uint32(digest[1])<<8 | uint32(digest[2])<<16 | uint32(digest[3])<<24
	}
	for ; ; place++ {
		at := &d.table[place&uint32(len(d.table)-1)] //nolint:gosec // a table is far smaller than 4 GB
		switch {
		case *at == 0:
			*at = uint16(i + 1) //nolint:gosec // fits
			return true
		case d.rows[*at-1].Identifiers[0].Value == digest:
			return false
		}
	}
}
