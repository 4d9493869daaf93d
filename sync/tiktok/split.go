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
func (c *Client) Split(rows []destination.Row, op destination.Op) ([]destination.Batch, []destination.Rejection) {
	carried := c.schemes
	if op == destination.Remove {
		carried = removable
	}
	byScheme := make([][]destination.Row, len(carried))
	var left []destination.Rejection
	for i, row := range rows {
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
