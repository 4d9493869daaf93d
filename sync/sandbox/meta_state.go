package sandbox

import (
	"fmt"
	"maps"
	"slices"
)

// MetaAudience is an audience as it truly is.
type MetaAudience struct {
	ID          string        `json:"id"`
	Account     string        `json:"account"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Subtype     string        `json:"subtype"`
	Origin      string        `json:"origin,omitempty"` // seed of a lookalike
	State       AudienceState `json:"state"`
	Operation   int           `json:"operation_status"`
	Rows        int           `json:"rows"`
}

// Audiences are all audiences of all accounts, deleted ones included, in the order of their ids.
func (m *Meta) Audiences() []MetaAudience {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	out := make([]MetaAudience, 0, len(m.audiences))
	for _, id := range slices.Sorted(maps.Keys(m.audiences)) {
		a := m.audiences[id]
		a.settle(m.server.now())
		out = append(out, MetaAudience{ID: a.id, Account: a.account, Name: a.name, Description: a.description, Subtype: a.subtype,
			Origin: a.origin, State: a.state, Operation: a.operation().Code, Rows: len(a.members.rows)})
	}
	return out
}

// Members are the rows an audience holds at this moment, visible in its counts or not, sorted by their keys; nil when there
// is no such audience. While a replace runs they are the rows it has brought so far.
func (m *Meta) Members(audienceID string) []Row {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	a := m.audiences[audienceID]
	if a == nil {
		return nil
	}
	a.settle(m.server.now())
	return a.members.sorted()
}

// SetState makes happen to an audience what its client did not do: deleted or flagged by somebody else, unshared.
func (m *Meta) SetState(audienceID string, state AudienceState) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	a := m.audiences[audienceID]
	switch {
	case a == nil:
		return fmt.Errorf("audience %q: not found", audienceID)
	case !slices.Contains([]AudienceState{StateNormal, StateDeleted, StateUnshared, StateFlagged, StateExpiring}, state):
		return fmt.Errorf("state %q: not one of normal, deleted, unshared, flagged, expiring", state)
	}
	switch a.state = state; state {
	case StateDeleted:
		a.remove()
	case StateExpiring:
		a.deleteTime = m.server.now().AddDate(0, 0, 90)
	case StateNormal, StateUnshared, StateFlagged:
	}
	return nil
}

// SetTerms makes the terms of custom audiences accepted or not accepted on an ad account.
func (m *Meta) SetTerms(account string, accepted bool) error {
	return m.setAccount(account, func(a *metaAccount) { a.termsAccepted = accepted })
}

// SetValueTerms makes the terms of value-based audiences, which are separate ones, accepted or not accepted on an ad account.
func (m *Meta) SetValueTerms(account string, accepted bool) error {
	return m.setAccount(account, func(a *metaAccount) { a.valueTerms = accepted })
}

func (m *Meta) setAccount(id string, set func(*metaAccount)) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	account := m.accounts[id]
	if account == nil {
		return fmt.Errorf("ad account %q: not found", id)
	}
	set(account)
	return nil
}
