package sandbox

import (
	"iter"
	"slices"
	"strings"
)

// Limits of the streaming endpoints.
const (
	tikTokMaxRows   = 10_000
	tikTokNameShown = 70 // characters; a longer name is stored as 67 and "..."
	tikTokNameCut   = 67
	emptyDeviceHash = "12b9377cbe7e5c94e8a70d9d23929523d14afa954793130f8a3959c7b849aca8" // of the all-zero device id
)

type segmentBody struct {
	Advertiser string `json:"advertiser_id"`
	Action     string `json:"action"`
	Name       string `json:"custom_audience_name"`
	Delete     string `json:"delete_audience_id"`
}

// readSegmentAudience is POST /segment/audience/: create or delete.
func readSegmentAudience(c *tikTokCall) (tikTokAct, error) {
	var b segmentBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	remove := b.Action == "delete"
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_name", remove || b.Name != ""},
		requiredField{"delete_audience_id", !remove || b.Delete != ""}); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "create", "delete"}, b.Action) {
		return nil, refusal(40002, "action: Must be one of create, delete.")
	}
	if err := checkIDs("advertiser_id", b.Advertiser); err != nil {
		return nil, err
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		if remove {
			a := t.find(b.Delete, b.Advertiser)
			if a == nil || a.kind != typePartner {
				return nil, refusal(40007, "The audience %s does not exist.", b.Delete)
			}
			a.remove()
			return empty{}, nil
		}
		a, err := t.newAudience(c, b.Advertiser, shownName(b.Name), typePartner)
		if err != nil {
			return nil, err
		}
		a.calculateType = "MULTIPLE_TYPES"
		return map[string]string{"audience_id": a.id}, nil
	}, nil
}

func shownName(name string) string {
	if runes := []rune(name); len(runes) > tikTokNameShown {
		return string(runes[:tikTokNameCut]) + "..."
	}
	return name
}

type mappingBody struct {
	Advertisers []string        `json:"advertiser_ids"`
	Action      string          `json:"action"`
	Schema      []string        `json:"id_schema"`
	Rows        [][]mappingCell `json:"batch_data"`
}

// mappingCell is one identifier of a row, or {} where the row has none of that kind.
type mappingCell struct {
	ID        *string  `json:"id"`
	Audiences []string `json:"audience_ids"`
}

func (c mappingCell) blank() bool { return c.ID == nil && c.Audiences == nil }

// idSchemas are the identifier kinds of a mapping and the hex digits of their hash.
var idSchemas = map[string]int{"EMAIL_SHA256": 64, "PHONE_SHA256": 64, "IDFA_SHA256": 64, "AAID_SHA256": 64, "IDFA_MD5": 32, "AAID_MD5": 32}

// readMapping is POST /segment/mapping/: add or delete members. One bad row refuses the batch.
func readMapping(c *tikTokCall) (tikTokAct, error) {
	var b mappingBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	c.rows = len(b.Rows)
	if err := required(requiredField{"advertiser_ids", len(b.Advertisers) > 0}, requiredField{"id_schema", len(b.Schema) > 0},
		requiredField{"batch_data", len(b.Rows) > 0}); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "add", "delete"}, b.Action) {
		return nil, refusal(40002, "action: Must be one of add, delete.")
	}
	if err := checkIDs("advertiser_ids", b.Advertisers...); err != nil {
		return nil, err
	}
	for i, name := range b.Schema {
		b.Schema[i] = strings.ToUpper(name)
		if idSchemas[b.Schema[i]] == 0 {
			return nil, refusal(40002, "id_schema: %s is not supported.", name)
		}
		if slices.Contains(b.Schema[:i], b.Schema[i]) {
			return nil, refusal(40002, "id_schema: %s occurs twice.", name)
		}
	}
	return func(t *TikTok) (any, error) { return t.mapUsers(c, &b) }, nil
}

func (t *TikTok) mapUsers(c *tikTokCall, b *mappingBody) (any, error) {
	for _, advertiser := range b.Advertisers {
		if err := t.own(c, advertiser); err != nil {
			return nil, err
		}
	}
	if len(b.Rows) > tikTokMaxRows {
		return nil, refusal(40061, "batch_data: At most %d rows.", tikTokMaxRows)
	}
	touched := map[string]*tikTokAudience{}
	for i, row := range b.Rows {
		if err := t.checkRow(c, b, i, row, touched); err != nil {
			return nil, err
		}
		if c.fault.refusedRow(i, cellIDs(row)) && c.fault.Kind == FaultRejectValues {
			return nil, refusal(40002, "batch_data[%d]: Refused on demand.", i)
		}
	}
	refused := 0
	for i, row := range b.Rows {
		if c.fault.refusedRow(i, cellIDs(row)) {
			refused++
			continue
		}
		for k, cell := range row {
			for _, id := range cell.Audiences {
				member := Member{b.Schema[k], *cell.ID}
				if b.Action == "delete" {
					delete(touched[id].members, member)
				} else {
					touched[id].members[member] = struct{}{}
				}
			}
		}
	}
	for _, a := range touched {
		a.sizes.note(c.now, c.now.Add(-c.cfg.VisibleAfter), len(a.members))
	}
	if refused > 0 {
		return nil, &tikTokError{code: 20001, message: "Partially successful", data: map[string]int{"failed_count": refused}}
	}
	return nil, nil
}

// checkRow checks a row's shape, its hashes and its audiences, which it collects in touched.
func (t *TikTok) checkRow(c *tikTokCall, b *mappingBody, i int, row []mappingCell, touched map[string]*tikTokAudience) error {
	if len(row) != len(b.Schema) {
		return refusal(40002, "batch_data[%d]: The row has %d cells, id_schema has %d.", i, len(row), len(b.Schema))
	}
	if !slices.ContainsFunc(row, func(cell mappingCell) bool { return !cell.blank() }) {
		return refusal(40002, "batch_data[%d]: The row has no id.", i)
	}
	for k, cell := range row {
		schema := b.Schema[k]
		switch {
		case cell.blank():
			continue
		case cell.ID == nil || len(cell.Audiences) == 0:
			return refusal(40002, "batch_data[%d][%d]: id and audience_ids are required.", i, k)
		case !isHash(*cell.ID, idSchemas[schema]), *cell.ID == emptyHash, *cell.ID == emptyDeviceHash:
			return refusal(40002, "batch_data[%d][%d]: The id is not a %s hash.", i, k, schema)
		}
		if kind, known := c.cfg.Universe[*cell.ID]; known && !strings.HasPrefix(schema, kind+"_") {
			return refusal(40002, "batch_data[%d][%d]: A hash of %s in the slot of %s.", i, k, kind, schema)
		}
		for _, id := range cell.Audiences {
			if touched[id] != nil {
				continue
			}
			a := t.find(id, b.Advertisers...)
			if a == nil || a.kind != typePartner {
				return refusal(40002, "batch_data[%d][%d]: The audience %s does not belong to advertiser_ids.", i, k, id)
			}
			touched[id] = a
		}
	}
	return nil
}

func cellIDs(row []mappingCell) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, cell := range row {
			if cell.ID != nil && !yield(*cell.ID) {
				return
			}
		}
	}
}
