package meta

import (
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// Split packs rows into requests of one schema each: the columns that any of the rows fills. A user with two values of a
// key becomes two rows. A row that no key finds is named instead.
func (c *Client) Split(rows []destination.Row, op destination.Op) ([]destination.Batch, []destination.Rejection) {
	carried := c.schemes
	if op == destination.Remove {
		carried = allSchemes
	}
	total := 0
	for _, row := range rows {
		total += len(row.Identifiers)
	}
	ids := make([]audience.Identifier, 0, total) // of all rows, one after the other
	packed := make([]destination.Row, 0, len(rows))
	var left []destination.Rejection
	for i, row := range rows {
		before := len(packed)
		for nth := 0; ; nth++ {
			start, found := len(ids), false
			for _, s := range carried {
				if id, ok := nthOf(row.Identifiers, s, nth); ok {
					ids = append(ids, id)
					found = found || findsAlone(s)
				}
			}
			if len(ids) == start {
				break
			}
			if !found {
				ids = ids[:start]
				continue
			}
			packed = append(packed, destination.Row{User: row.User, Identifiers: ids[start:len(ids):len(ids)]})
		}
		if len(packed) == before {
			left = append(left, destination.Rejection{Row: i, Reason: "has no e-mail, phone or device id that this account sends"})
		}
	}
	var batches []destination.Batch
	for chunk := range slices.Chunk(packed, c.batchRows) {
		batches = append(batches, destination.Batch{Op: op, Schema: schemaOf(chunk, carried), Rows: chunk})
	}
	return batches, left
}

// nthOf is the n-th identifier of a scheme, counted from 0.
func nthOf(ids []audience.Identifier, s audience.Scheme, n int) (audience.Identifier, bool) {
	for _, id := range ids {
		if id.Scheme == s {
			if n == 0 {
				return id, true
			}
			n--
		}
	}
	return audience.Identifier{}, false
}

// schemaOf lists the schemes that any row has, in the order of carried.
func schemaOf(rows []destination.Row, carried []audience.Scheme) []audience.Scheme {
	schema := make([]audience.Scheme, 0, len(carried))
	used := make([]bool, len(carried))
	for _, row := range rows {
		k := 0
		for _, id := range row.Identifiers {
			for carried[k] != id.Scheme {
				k++
			}
			used[k] = true
		}
	}
	for k, s := range carried {
		if used[k] {
			schema = append(schema, s)
		}
	}
	return schema
}

// allSchemes are those of every column.
var allSchemes = func() []audience.Scheme {
	all := make([]audience.Scheme, len(columns))
	for i, c := range columns {
		all[i] = c.scheme
	}
	return all
}()
