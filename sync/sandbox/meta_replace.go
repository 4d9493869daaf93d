package sandbox

import (
	"fmt"
	"strconv"
	"time"
)

// replaceLimit is how long a replace may take from its first batch.
const replaceLimit = 90 * time.Minute

type replacePhase string

const (
	phaseNormal    replacePhase = ""          // no replace
	phaseReplacing replacePhase = "replacing" // between the first batch and the last
	phaseFinishing replacePhase = "finishing" // last batch seen or time out; nothing can be sent
)

// replacement is the current or last replace of an audience. Its batches go straight into the members, which the first
// batch empties: whoever stops half-way leaves half an audience.
type replacement struct {
	phase    replacePhase
	session  int64
	schema   string
	started  time.Time
	ends     time.Time // of FINISHING
	timedOut bool
	failed   bool // status 415 until the next upload
	received int
	invalid  int
}

func (r *replacement) running() bool { return r.phase != phaseNormal }

// busy is what everybody but the replace's own session is told while it runs.
func (r *replacement) busy() error {
	if r.phase == phaseFinishing {
		return metaUpdate(1870148, "The audience is not fully updated yet")
	}
	return metaUpdate(1870145, "A replace of this audience is in progress")
}

// FailReplace ends the running replace of an audience in failure: status 415, the members as far as they have come.
func (m *Meta) FailReplace(audienceID string) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	a := m.audiences[audienceID]
	if a == nil {
		return fmt.Errorf("audience %q: not found", audienceID)
	}
	now := m.server.now()
	a.settle(now)
	if !a.replace.running() {
		return fmt.Errorf("audience %q: no replace is running", audienceID)
	}
	a.replace.phase, a.replace.ends, a.replace.failed = phaseNormal, now, true
	return nil
}

func (m *Meta) replaceUsers(c *metaCall) (any, error) {
	a := c.audience
	s, err := c.readSession()
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, metaParameter("(#100) The parameter session is required", "session")
	case !c.account.termsAccepted:
		return nil, &metaError{Code: 200, Subcode: 1870034, Message: "(#200) Custom audience terms have not been accepted"}
	}
	if err := a.accepts(c.upload); err != nil {
		return nil, err
	}
	if len(a.members.rows) >= m.server.cfg.Meta.ReplaceLimit {
		return nil, metaUpdate(1870144, "The audience is too large for a replace")
	}
	if err := a.admit(c, s); err != nil {
		return nil, err
	}
	r := &a.replace
	if s.Batch == 1 { // a second first batch starts over: what came in between is lost
		*r = replacement{phase: phaseReplacing, session: s.id, schema: c.upload.schemaText, started: c.now}
		a.members = newRowSet()
	}
	good, answer := m.judge(c)
	for _, row := range good {
		if id, ok := c.account.resolve(row, c.now); ok {
			a.members.add(id, heldRow{c.now, row.value})
		}
	}
	a.filled = true
	r.received += answer.Received
	r.invalid += answer.Invalid
	if s.Last {
		r.phase, r.ends = phaseFinishing, c.now.Add(m.server.cfg.Meta.ReplaceTakes)
	}
	a.changed(c.now, m.server.cfg.Meta.VisibleAfter)
	answer.Audience, answer.Session, answer.Received = a.id, strconv.FormatInt(s.id, 10), r.received
	return answer, nil
}

// admit is the state machine: whether this batch may come now.
func (a *metaAudience) admit(c *metaCall, s *session) error {
	r := &a.replace
	same := s.id == r.session
	switch {
	case r.timedOut && same:
		return metaUpdate(1870158, "The replace ran for more than 90 minutes")
	case r.phase == phaseFinishing && same:
		return metaUpdate(1870159, "The session is already finished")
	case r.running() && !same:
		return r.busy()
	case r.phase == phaseNormal && same && s.Batch > 1:
		return metaUpdate(1870159, "The session is already finished")
	case r.phase == phaseNormal && s.Batch > 1:
		return metaUpdate(1870147, "The first batch of the replace is missing")
	case r.phase == phaseReplacing && c.upload.schemaText != r.schema:
		return metaParameter("(#100) The schema must be the same in every batch of a replace", "payload")
	}
	return nil
}

// endReplace lets a replace time out and finish.
func (a *metaAudience) endReplace(now time.Time) {
	r := &a.replace
	if timeout := r.started.Add(replaceLimit); r.phase == phaseReplacing && !now.Before(timeout) {
		r.phase, r.ends, r.timedOut = phaseFinishing, timeout, true
	}
	if r.phase == phaseFinishing && !now.Before(r.ends) {
		r.phase = phaseNormal
	}
}

// metaSession is a line of the sessions edge; every value is a string there.
type metaSession struct {
	ID       string `json:"session_id"`
	Start    string `json:"start_time"`
	End      string `json:"end_time"`
	Received string `json:"num_received"`
	Matched  string `json:"num_matched"`
	Invalid  string `json:"num_invalid_entries"`
	Progress string `json:"progress"`
	Stage    string `json:"stage"`
}

// listSessions shows the last replace. Its stage lingers at "uploading" whatever became of it, as recorded.
func (m *Meta) listSessions(c *metaCall) (any, error) {
	r := c.audience.replace
	data := []metaSession{}
	id := strconv.FormatInt(r.session, 10)
	if asked, sent := c.params["session_id"]; r.session != 0 && (!sent || asked == id) {
		end := "0"
		if r.phase == phaseNormal {
			end = strconv.FormatInt(r.ends.Unix(), 10)
		}
		data = append(data, metaSession{ID: id, Start: strconv.FormatInt(r.started.Unix(), 10), End: end, Received: strconv.Itoa(r.received),
			Matched: "-1", Invalid: strconv.Itoa(r.invalid), Progress: "0", Stage: "uploading"})
	}
	return map[string]any{"data": data}, nil
}
