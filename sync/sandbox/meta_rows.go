package sandbox

import (
	"slices"
	"strings"
	"time"
)

// Row is one row of a customer list as Meta holds it.
type Row struct {
	// Keys maps schema keys to their hash, or to the clear value where a key is not hashed.
	Keys map[string]string `json:"keys,omitempty"`
	// ExternID is the advertiser's own id, empty when the row came without.
	ExternID string `json:"extern_id,omitempty"`
	// LookalikeValue is the value last sent with the row, as written.
	LookalikeValue string `json:"lookalike_value,omitempty"`
}

// rowID is the canonical text of a row: "EMAIL=…|PHONE=…#extern". Keys are sorted; their values never contain the signs.
type rowID string

func newRowID(pii, extern string) rowID { return rowID(pii + "#" + extern) }

func (id rowID) split() (pii, extern string) {
	pii, extern, _ = strings.Cut(string(id), "#")
	return pii, extern
}

func (id rowID) row() Row {
	pii, extern := id.split()
	r := Row{ExternID: extern, Keys: map[string]string{}}
	for part := range strings.SplitSeq(pii, "|") {
		if name, value, ok := strings.Cut(part, "="); ok {
			r.Keys[name] = value
		}
	}
	return r
}

// personal are the keys that find a person by themselves; a first name or a city does not.
var personal = []string{"EMAIL", "PHONE", "MADID", "UID", "APPUID", "PAGEUID"}

// finders are the texts by which a row's person is found: each personal key, or all others together.
func finders(pii string) []string {
	var out []string
	for part := range strings.SplitSeq(pii, "|") {
		if name, _, _ := strings.Cut(part, "="); slices.Contains(personal, name) {
			out = append(out, part)
		}
	}
	if len(out) == 0 && pii != "" {
		out = append(out, pii)
	}
	return out
}

// heldRow is what the set keeps beside the id.
type heldRow struct {
	added time.Time
	value string
}

// rowSet is the members of an audience: a set of rows, found by any finder of theirs or by their EXTERN_ID.
type rowSet struct {
	rows   map[rowID]heldRow
	byText map[string][]rowID
}

func newRowSet() *rowSet { return &rowSet{rows: map[rowID]heldRow{}, byText: map[string][]rowID{}} }

func (s *rowSet) add(id rowID, held heldRow) {
	_, had := s.rows[id]
	s.rows[id] = held
	if had {
		return
	}
	for _, text := range s.texts(id) {
		s.byText[text] = append(s.byText[text], id)
	}
}

// texts are all entries of the index that lead to a row.
func (s *rowSet) texts(id rowID) []string {
	pii, extern := id.split()
	texts := finders(pii)
	if extern != "" {
		texts = append(texts, "#"+extern)
	}
	return texts
}

// find collects the rows that any of the texts leads to.
func (s *rowSet) find(texts []string, into map[rowID]struct{}) {
	for _, text := range texts {
		for _, id := range s.byText[text] {
			into[id] = struct{}{}
		}
	}
}

func (s *rowSet) remove(id rowID) {
	if _, had := s.rows[id]; !had {
		return
	}
	delete(s.rows, id)
	for _, text := range s.texts(id) {
		left := slices.DeleteFunc(s.byText[text], func(other rowID) bool { return other == id })
		if len(left) == 0 {
			delete(s.byText, text)
		} else {
			s.byText[text] = left
		}
	}
}

// sorted are the rows in the order of their canonical text.
func (s *rowSet) sorted() []Row {
	ids := make([]rowID, 0, len(s.rows))
	for id := range s.rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]Row, len(ids))
	for i, id := range ids {
		out[i] = id.row()
		out[i].LookalikeValue = s.rows[id].value
	}
	return out
}
