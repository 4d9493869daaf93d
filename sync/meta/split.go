package meta

import (
	"math"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// Split packs rows into requests of one schema each: the columns that any of the rows fills. A user with two values of a
// key becomes two rows. A row that no key finds is named instead, and so is one without a value among rows with values: the
// audience must be value-based then (3.6). A removal only has to fill that column, and is never refused for it. Batches share what
// they can of the rows given.
func (c *Client) Split(rows []destination.Row, op destination.Op) ([]destination.Batch, []destination.Rejection) {
	carried := c.schemes
	if op == destination.Remove {
		carried = allSchemes
	}
	valued := false
	for i := range rows {
		valued = valued || rows[i].HasValue
	}
	asTheyAre, same := 0, false // rows at the beginning that can go so; mostly all
	if !valued {
		asTheyAre, same = countFitting(rows, carried)
	}
	packed := rows[:asTheyAre:asTheyAre]
	var ids []audience.Identifier // of the rows that cannot go as they are, one after the other
	var left []destination.Rejection
	for i, row := range rows[asTheyAre:] {
		i += asTheyAre
		if valued {
			if reason := valueProblem(row); reason != "" && op == destination.Add {
				left = append(left, destination.Rejection{Row: i, Reason: reason})
				continue
			} else if reason != "" {
				row.Value = 0
			}
			row.HasValue = true
		}
		if fits(row.Identifiers, carried) {
			packed = append(packed, row)
			continue
		}
		before := len(packed)
		for nth, taken := 0, 0; taken < len(row.Identifiers); nth++ {
			start, found := len(ids), false
			for _, s := range carried {
				if id, ok := nthOf(row.Identifiers, s, nth); ok {
					ids = append(ids, id)
					found = found || findsAlone(s)
				}
			}
			if len(ids) == start {
				break // the others are of schemes that are not carried
			}
			taken += len(ids) - start
			if found {
				part := row
				part.Identifiers = ids[start:len(ids):len(ids)]
				packed = append(packed, part)
			} else {
				ids = ids[:start]
			}
		}
		if len(packed) == before {
			left = append(left, destination.Rejection{Row: i, Reason: "has no e-mail, phone or device id that this account sends"})
		}
	}
	var batches []destination.Batch
	for chunk := range slices.Chunk(packed, c.batchRows) {
		shown := chunk
		if same && asTheyAre == len(rows) {
			shown = chunk[:1]
		}
		batches = append(batches, destination.Batch{Op: op, Schema: schemaOf(shown, carried), Rows: chunk})
	}
	return batches, left
}

// valueProblem is why a row cannot go into a value-based audience, "" when it can.
func valueProblem(row destination.Row) string {
	switch {
	case !row.HasValue:
		return "has no value, which a value-based audience wants of everybody"
	case !(row.Value >= 0) || math.IsInf(row.Value, 1):
		return "has a value that is no number of 0 or more"
	}
	return ""
}

// countFitting is how many rows at the beginning fit, and whether they all have the same schemes. They mostly have those of
// the row before.
func countFitting(rows []destination.Row, carried []audience.Scheme) (n int, same bool) {
	same = true
	for i := range rows {
		if i > 0 && alike(rows[i-1].Identifiers, rows[i].Identifiers) {
			continue
		}
		if !fits(rows[i].Identifiers, carried) {
			return i, same
		}
		same = i == 0
	}
	return len(rows), same
}

// alike reports whether two rows have the same schemes in the same order.
func alike(a, b []audience.Identifier) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Scheme != b[i].Scheme {
			return false
		}
	}
	return true
}

// fits reports whether a row can go as it is: a person is found by it, and its identifiers stand in the order of carried.
func fits(ids []audience.Identifier, carried []audience.Scheme) bool {
	found := false
	for _, id := range ids {
		k := slices.Index(carried, id.Scheme)
		if k < 0 {
			return false
		}
		found = found || findsAlone(id.Scheme)
		carried = carried[k+1:]
	}
	return found
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
	for i := range rows {
		if i > 0 && alike(rows[i-1].Identifiers, rows[i].Identifiers) {
			continue
		}
		k := 0
		for _, id := range rows[i].Identifiers {
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
