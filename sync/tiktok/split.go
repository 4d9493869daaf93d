package tiktok

import (
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// removable are all schemes: a removal sends what was added, under whatever mode that was.
var removable = []audience.Scheme{identity.TikTokEmailBasic, identity.TikTokEmailStripPlus, identity.TikTokEmailLegacy,
	identity.TikTokPhone, identity.TikTokIDFA, identity.TikTokAAID}

// Split gives one row to each identifier and requests of one type of identifier each. A row without any is named instead.
// Batches share what they can of the rows given.
func (c *Client) Split(rows []destination.Row, op destination.Op) ([]destination.Batch, []destination.Rejection) {
	carried := c.schemes
	if op == destination.Remove {
		carried = removable
	}
	byScheme := make([][]destination.Row, len(carried))
	var left []destination.Rejection
	asTheyAre, of := countSingle(rows, carried)
	if asTheyAre > 0 {
		byScheme[of] = rows[:asTheyAre:asTheyAre]
	}
	for i, row := range rows[asTheyAre:] {
		i += asTheyAre
		found := false
		for j, id := range row.Identifiers {
			if k := slices.Index(carried, id.Scheme); k >= 0 {
				found = true
				if byScheme[k] == nil {
					byScheme[k] = make([]destination.Row, 0, len(rows)-i)
				}
				byScheme[k] = append(byScheme[k], destination.Row{User: row.User, Identifiers: row.Identifiers[j : j+1 : j+1]})
			}
		}
		if !found {
			left = append(left, destination.Rejection{Row: i, Reason: "has no e-mail, phone or device id that TikTok takes"})
		}
	}
	var batches []destination.Batch
	for k, part := range byScheme {
		for chunk := range slices.Chunk(part, c.batchRows) {
			batches = append(batches, destination.Batch{Op: op, Schema: carried[k : k+1 : k+1], Rows: chunk})
		}
	}
	return batches, left
}

// countSingle is how many rows at the beginning have one identifier, all of the same scheme, and the scheme's place among
// those carried.
func countSingle(rows []destination.Row, carried []audience.Scheme) (n, of int) {
	if len(rows) == 0 || len(rows[0].Identifiers) != 1 {
		return 0, 0
	}
	scheme := rows[0].Identifiers[0].Scheme
	if of = slices.Index(carried, scheme); of < 0 {
		return 0, 0
	}
	for n < len(rows) && len(rows[n].Identifiers) == 1 && rows[n].Identifiers[0].Scheme == scheme {
		n++
	}
	return n, of
}
