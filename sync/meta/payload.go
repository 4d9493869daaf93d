package meta

import (
	"slices"
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// part is where a request stands in its session (2.4).
type part struct {
	session int64
	number  int // from 1
	last    bool
	total   int64 // rows of the session, about
}

// layout is the columns of a request: a cell for each scheme, then what Meta takes beside identifiers (3.6).
type layout struct {
	schemes []audience.Scheme
	valued  bool // LOOKALIKE_VALUE
	limited bool // the three of limited data use
}

// layoutOf is what the rows of a batch made by Split need.
func layoutOf(b *destination.Batch) layout {
	l := layout{schemes: b.Schema, valued: b.Rows[0].HasValue}
	for i := range b.Rows {
		l.limited = l.limited || b.Rows[i].Limited
	}
	return l
}

// carries reports whether rows of another layout can go under this one, with blanks where they have nothing.
func (l layout) carries(rows layout) bool {
	return l.valued == rows.valued && (l.limited || !rows.limited) &&
		!slices.ContainsFunc(rows.schemes, func(s audience.Scheme) bool { return !slices.Contains(l.schemes, s) })
}

// appendPayload appends the body of a request (2.4): always the array schema, is_raw true, blanks as "". Digests become
// lower-case hex; the device ids beside them are letters, digits and dashes and need no escaping.
func appendPayload(dst []byte, p part, l layout, rows []destination.Row) []byte {
	dst = l.appendHead(dst, p)
	for i := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.appendRow(dst, &rows[i])
	}
	return append(dst, payloadEnd...)
}

// Between appendHead and payloadEnd stand the rows, commas between them.
const payloadEnd = `]}}`

func (l layout) appendHead(dst []byte, p part) []byte {
	dst = append(dst, `{"session":{"session_id":`...)
	dst = strconv.AppendInt(dst, p.session, 10)
	dst = append(dst, `,"batch_seq":`...)
	dst = strconv.AppendInt(dst, int64(p.number), 10)
	dst = append(dst, `,"last_batch_flag":`...)
	dst = strconv.AppendBool(dst, p.last)
	dst = append(dst, `,"estimated_num_total":`...)
	dst = strconv.AppendInt(dst, p.total, 10)
	dst = append(dst, `},"payload":{"schema":[`...)
	for i, s := range l.schemes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), columnOf(s)...), '"')
	}
	if l.valued {
		dst = append(dst, `,"LOOKALIKE_VALUE"`...)
	}
	if l.limited {
		dst = append(dst, `,"DATA_PROCESSING_OPTIONS","DATA_PROCESSING_OPTIONS_COUNTRY","DATA_PROCESSING_OPTIONS_STATE"`...)
	}
	return append(dst, `],"is_raw":true,"data":[`...)
}

// appendRow appends one row; its identifiers stand in the order of the schemes.
func (l layout) appendRow(dst []byte, row *destination.Row) []byte {
	dst = appendCells(dst, l.schemes, row.Identifiers)
	if !l.valued && !l.limited {
		return append(dst, `"]`...)
	}
	dst = append(dst, '"')
	if l.valued {
		dst = strconv.AppendFloat(append(dst, ','), row.Value, 'f', -1, 64)
	}
	switch {
	case l.limited && row.Limited:
		dst = append(dst, `,["LDU"],1,1000`...) // the United States, California: the one pair the sheet confirms
	case l.limited:
		dst = append(dst, `,[],0,0`...)
	}
	return append(dst, ']')
}

// appendCells appends the cells of the schemes, up to the closing quote of the last.
func appendCells(dst []byte, schemes []audience.Scheme, ids []audience.Identifier) []byte {
	for i, s := range schemes {
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
			dst = identity.AppendHex(dst, ids[0].Value)
		}
		ids = ids[1:]
	}
	return dst
}

// payloadBytes is an upper bound of the size of a body, values of many digits aside.
func payloadBytes(l layout, rows int) int {
	const envelope, cell, row, value, options = 1024, 2*32 + 3, 3, 20, 16
	size := len(l.schemes)*cell + row
	if l.valued {
		size += value
	}
	if l.limited {
		size += options
	}
	return envelope + rows*size
}
