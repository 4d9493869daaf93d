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
	dst = appendHead(dst, account, b.Op, b.Schema[0])
	sent := newDigests(len(b.Rows))
	for i := range b.Rows {
		digest := b.Rows[i].Identifiers[0].Value
		if !sent.add(digest) {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, rowStart...)
		dst = identity.AppendHex(dst, digest)
		dst = append(append(append(dst, rowMiddle...), audienceID...), rowEnd...)
	}
	return append(dst, payloadEnd...)
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

// digests is a set of digests. Their bytes are spread evenly already, so a few of them are the place in the table; a map of
// strings would take longer than writing the row.
type digests struct {
	table []string // open addressing; at most half full
}

func newDigests(most int) digests { return digests{make([]string, 2<<bits.Len(uint(most)))} }

// add puts a digest in and reports whether it is new.
func (d digests) add(digest string) bool {
	var place uint32
	if len(digest) >= 4 {
		place = uint32(digest[0]) | uint32(digest[1])<<8 | uint32(digest[2])<<16 | uint32(digest[3])<<24
	}
	for ; ; place++ {
		switch at := &d.table[place&uint32(len(d.table)-1)]; *at { //nolint:gosec // a table is far smaller than 4 GB
		case "":
			*at = digest
			return true
		case digest:
			return false
		}
	}
}
