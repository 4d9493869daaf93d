package meta

import (
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// appendPayload appends the body of a request to the users edge (2.4): always the array schema, is_raw true, blanks as "".
// Digests become lower-case hex; the device ids beside them are letters, digits and dashes and need no escaping.
func appendPayload(dst []byte, session int64, b *destination.Batch) []byte {
	dst = append(dst, `{"session":{"session_id":`...)
	dst = strconv.AppendInt(dst, session, 10)
	dst = append(dst, `,"batch_seq":1,"last_batch_flag":true,"estimated_num_total":`...)
	dst = strconv.AppendInt(dst, int64(len(b.Rows)), 10)
	dst = append(dst, `},"payload":{"schema":[`...)
	for i, s := range b.Schema {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), columnOf(s)...), '"')
	}
	dst = append(dst, `],"is_raw":true,"data":[`...)
	for i := range b.Rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRow(dst, b.Schema, b.Rows[i].Identifiers)
	}
	return append(dst, `]}}`...)
}

// appendRow appends one row: a cell for each scheme, ids being in the same order.
func appendRow(dst []byte, schema []audience.Scheme, ids []audience.Identifier) []byte {
	for i, s := range schema {
		if i == 0 {
			dst = append(dst, `["`...)
		} else {
			dst = append(dst, `","`...)
		}
		if len(ids) == 0 || ids[0].Scheme != s {
			continue
		}
		if s == identity.MetaMADID {
			dst = append(dst, ids[0].Value...)
		} else {
			dst = destination.AppendHex(dst, ids[0].Value)
		}
		ids = ids[1:]
	}
	return append(dst, `"]`...)
}

// payloadBytes is an upper bound of the size of a body.
func payloadBytes(b *destination.Batch) int {
	const envelope, cell, row = 512, 2*32 + 3, 3
	return envelope + len(b.Rows)*(len(b.Schema)*cell+row)
}
