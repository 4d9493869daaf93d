package sandbox

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// metaMaxRows is the most rows a request carries (Meta, "Customer File Custom Audiences", 2026).
const metaMaxRows = 10_000

// upload is a parsed payload: rows checked one by one, the bad ones with a reason.
type upload struct {
	schema     []string
	schemaText string // as sent, compacted; batches of a replace must agree in it
	single     bool   // string schema
	valueBased bool   // schema has LOOKALIKE_VALUE
	rows       []uploadedRow
	cells      []any // as sent, for samples
}

type uploadedRow struct {
	pii    string // canonical keys, see rowID
	extern string
	value  string // LOOKALIKE_VALUE
	reason string // why the row is invalid, empty when it is not
}

// values yields what a fault can refuse a row by.
func (r uploadedRow) values() iter.Seq[string] {
	return func(yield func(string) bool) {
		if r.extern != "" && !yield(r.extern) {
			return
		}
		for part := range strings.SplitSeq(r.pii, "|") {
			if _, v, _ := strings.Cut(part, "="); !yield(v) {
				return
			}
		}
	}
}

// payload is the wire form; unknown members are refused.
type payload struct {
	Schema          json.RawMessage `json:"schema"`
	Data            []any           `json:"data"`
	IsRaw           bool            `json:"is_raw"`
	AppIDs          []string        `json:"app_ids"`
	PageIDs         []string        `json:"page_ids"`
	IGAccountIDs    []string        `json:"ig_account_ids"`
	DataSource      any             `json:"data_source"`
	CustomerConsent any             `json:"customer_consent"`
}

// parseUpload reads a payload. An error concerns the whole request; a bad row is marked and leaves the rest alone.
func parseUpload(text string) (*upload, error) {
	var p payload
	if err := decodeStrict(text, &p); err != nil {
		return nil, metaParameter("(#100) Invalid parameter payload: "+err.Error(), "payload")
	}
	u := &upload{cells: p.Data}
	columns, err := u.readSchema(p)
	if err != nil {
		return nil, err
	}
	switch {
	case len(p.Data) == 0:
		return nil, metaParameter("(#100) Data is missing or does not match schema", "payload")
	case len(p.Data) > metaMaxRows:
		return nil, &metaError{Code: 1, Subcode: 99, Message: "An unknown error occurred"}
	}
	u.rows = make([]uploadedRow, len(p.Data))
	order := sortedColumns(u.schema)
	for i, cells := range p.Data {
		row, ok := cells.([]any)
		if u.single {
			row, ok = []any{cells}, true
		}
		if !ok || len(row) != len(columns) {
			return nil, metaParameter(fmt.Sprintf("(#100) Data is missing or does not match schema: row %d", i), "payload")
		}
		u.rows[i] = readRow(u.schema, columns, order, row)
	}
	return u, nil
}

func (u *upload) readSchema(p payload) ([]metaColumn, error) {
	var name string
	if err := json.Unmarshal(p.Schema, &name); err == nil {
		key, known := singleKeys[name]
		if !known {
			return nil, metaParameter(fmt.Sprintf("(#100) Invalid schema %q", name), "payload")
		}
		u.single, u.schema = true, []string{key}
	} else if err := json.Unmarshal(p.Schema, &u.schema); err != nil || len(u.schema) == 0 {
		return nil, metaParameter("(#100) Data is missing or does not match schema: schema must be a list of keys", "payload")
	}
	u.schemaText = string(jsonText(p.Schema))
	columns := make([]metaColumn, len(u.schema))
	for i, key := range u.schema {
		column, known := metaColumns[key]
		switch {
		case !known:
			return nil, metaParameter(fmt.Sprintf("(#100) Invalid key %q in schema", key), "payload")
		case slices.Contains(u.schema[:i], key):
			return nil, metaParameter(fmt.Sprintf("(#100) Duplicate key %q in schema", key), "payload")
		case (key == "UID" || key == "APPUID") && len(p.AppIDs) == 0:
			return nil, metaParameter(fmt.Sprintf("(#100) Schema key %q requires app_ids", key), "payload")
		case key == "PAGEUID" && len(p.PageIDs) != 1:
			return nil, metaParameter(`(#100) Schema key "PAGEUID" requires exactly one of page_ids`, "payload")
		}
		columns[i] = column
		u.valueBased = u.valueBased || key == "LOOKALIKE_VALUE"
	}
	return columns, nil
}

// sortedColumns are the positions of schema in the order of their names.
func sortedColumns(schema []string) []int {
	order := make([]int, len(schema))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(schema[a], schema[b]) })
	return order
}

func readRow(schema []string, columns []metaColumn, order []int, cells []any) uploadedRow {
	var row uploadedRow
	var pii strings.Builder
	for _, i := range order {
		value, reason := columns[i](cells[i])
		if reason != "" {
			return uploadedRow{reason: reason}
		}
		switch key := schema[i]; {
		case key == "EXTERN_ID":
			row.extern = value
		case key == "LOOKALIKE_VALUE":
			row.value = value
		case strings.HasPrefix(key, "DATA_PROCESSING"), value == "":
		default:
			if pii.Len() > 0 {
				pii.WriteByte('|')
			}
			pii.WriteString(key)
			pii.WriteByte('=')
			pii.WriteString(value)
		}
	}
	row.pii = pii.String()
	if row.pii == "" && row.extern == "" {
		row.reason = "no match key in row"
	}
	return row
}
