package tiktok

import "github.com/kohorta/kohorta/sync/destination"

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
	action := "add"
	if b.Op == destination.Remove {
		action = "delete"
	}
	dst = append(append(dst, `{"advertiser_ids":["`...), account...)
	dst = append(append(dst, `"],"action":"`...), action...)
	dst = append(append(dst, `","id_schema":["`...), idSchemas[b.Schema[0]]...)
	dst = append(dst, `"],"batch_data":[`...)
	sent := make(map[string]struct{}, len(b.Rows))
	for i := range b.Rows {
		digest := b.Rows[i].Identifiers[0].Value
		if _, repeated := sent[digest]; repeated {
			continue
		}
		if len(sent) > 0 {
			dst = append(dst, ',')
		}
		sent[digest] = struct{}{}
		dst = append(dst, rowStart...)
		dst = destination.AppendHex(dst, digest)
		dst = append(append(append(dst, rowMiddle...), audienceID...), rowEnd...)
	}
	return append(dst, `]}`...)
}
