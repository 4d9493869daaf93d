package sandbox

import (
	"strconv"
	"time"
)

// externLifetime is how long an EXTERN_ID stands for the keys uploaded beside it.
const externLifetime = 90 * 24 * time.Hour

// maxSamples is the most invalid entries an answer shows.
const maxSamples = 100

// usersAnswer is the answer of every call that carries rows.
type usersAnswer struct {
	Audience string `json:"audience_id,omitempty"`
	Session  string `json:"session_id"`
	Received int    `json:"num_received"`
	Invalid  int    `json:"num_invalid_entries"`
	Samples  any    `json:"invalid_entry_samples"`
}

func (m *Meta) addUsers(c *metaCall) (any, error) {
	if !c.account.termsAccepted {
		return nil, &metaError{Code: 200, Subcode: 1870034, Message: "(#200) Custom audience terms have not been accepted",
			Title: "Custom Audience Terms Not Accepted", UserMsg: "Accept the Custom Audience terms of this ad account."}
	}
	return m.changeUsers(c, "POST", func(rows []uploadedRow) error {
		c.audience.filled = true
		for _, row := range rows {
			if id, ok := c.account.resolve(row, c.now); ok {
				c.audience.members.add(id, heldRow{c.now, row.value})
			}
		}
		return nil
	})
}

func (m *Meta) removeUsers(c *metaCall) (any, error) {
	return m.changeUsers(c, "DELETE", func(rows []uploadedRow) error {
		leaving := c.account.leaving(c.audience.members, rows, c.now)
		if left := len(c.audience.members.rows) - len(leaving); len(leaving) > 0 && left < m.server.cfg.Meta.RemovalFloor {
			return &metaError{Code: 200, Subcode: 1870047, Message: "(#200) The audience would become too small by this removal"}
		}
		for id := range leaving {
			c.audience.members.remove(id)
		}
		return nil
	})
}

// removeFromAny removes people from every customer list of the account: the erasure path.
func (m *Meta) removeFromAny(c *metaCall) (any, error) {
	s, err := c.readSession()
	if err != nil {
		return nil, err
	}
	good, answer := m.judge(c)
	for _, a := range m.audiences {
		if a.account != c.account.id || a.state == StateDeleted {
			continue
		}
		a.settle(c.now)
		leaving := c.account.leaving(a.members, good, c.now)
		if len(leaving) == 0 {
			continue
		}
		for id := range leaving {
			a.members.remove(id)
		}
		a.changed(c.now, m.server.cfg.Meta.VisibleAfter)
	}
	answer.Session = defaultSession("DELETE", c.upload.schemaText)
	if s != nil {
		answer.Session = strconv.FormatInt(s.id, 10)
	}
	return answer, nil
}

// changeUsers checks what adds and removals have in common, applies the good rows, and answers.
func (m *Meta) changeUsers(c *metaCall, verb string, apply func([]uploadedRow) error) (any, error) {
	a := c.audience
	s, err := c.readSession()
	if err != nil {
		return nil, err
	}
	if s == nil && m.server.cfg.Meta.SessionRequired {
		return nil, metaParameter("(#100) The parameter session is required", "session")
	}
	if a.replace.running() {
		return nil, a.replace.busy()
	}
	if err := a.accepts(c.upload); err != nil {
		return nil, err
	}
	seen, id := &usersSession{}, defaultSession(verb, c.upload.schemaText)
	if s != nil {
		seen, id = c.account.session(s.id), strconv.FormatInt(s.id, 10)
	}
	answer := usersAnswer{Samples: map[string]string{}}
	if !seen.closed { // batches after the last one are ignored
		var good []uploadedRow
		good, answer = m.judge(c)
		if err := apply(good); err != nil {
			return nil, err
		}
		a.changed(c.now, m.server.cfg.Meta.VisibleAfter)
		seen.received += answer.Received
		seen.closed = s != nil && s.Last
	}
	answer.Audience, answer.Session, answer.Received = a.id, id, seen.received
	return answer, nil
}

// judge separates the good rows and starts the answer: counts and samples of the others.
func (m *Meta) judge(c *metaCall) ([]uploadedRow, usersAnswer) {
	good := make([]uploadedRow, 0, len(c.upload.rows))
	answer := usersAnswer{Received: len(c.upload.rows)}
	samples := map[string]string{}
	for i, row := range c.upload.rows {
		if row.reason == "" && c.fault.refusedRow(i, row.values()) {
			row.reason = "refused on demand"
		}
		if row.reason == "" {
			good = append(good, row)
			continue
		}
		answer.Invalid++
		if len(samples) < maxSamples {
			samples[string(jsonText(c.upload.cells[i]))] = row.reason
		}
	}
	answer.Samples = samples
	if m.server.cfg.Meta.SamplesAsArray {
		reasons := make([]string, 0, len(samples))
		for _, reason := range samples {
			reasons = append(reasons, reason)
		}
		answer.Samples = reasons
	}
	return good, answer
}

// resolve turns an uploaded row into the row to hold. An EXTERN_ID alone stands for the keys last uploaded beside it;
// when that is unknown or too long ago it matches nobody, without an error.
func (account *metaAccount) resolve(row uploadedRow, now time.Time) (rowID, bool) {
	if row.pii != "" {
		if row.extern != "" {
			account.externs[row.extern] = externMapping{row.pii, now}
		}
		return newRowID(row.pii, row.extern), true
	}
	known, ok := account.externs[row.extern]
	if !ok || now.Sub(known.at) > externLifetime {
		return "", false
	}
	return newRowID(known.pii, row.extern), true
}

// leaving are the members of the set that the rows name by any of their keys. Where keys and EXTERN_ID disagree the keys win.
func (account *metaAccount) leaving(members *rowSet, rows []uploadedRow, now time.Time) map[rowID]struct{} {
	found := map[rowID]struct{}{}
	for _, row := range rows {
		texts := finders(row.pii)
		if row.pii == "" {
			id, ok := account.resolve(row, now)
			if !ok {
				continue
			}
			pii, _ := id.split()
			texts = append(finders(pii), "#"+row.extern)
		}
		members.find(texts, found)
	}
	return found
}
