package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// status is a code with its meaning, as in operation_status.
type status struct {
	Code        int    `json:"code"`
	Description string `json:"description"`
}

// metaField reads one field of an audience for an answer.
type metaField func(m *Meta, a *metaAudience, now time.Time) any

var metaFields = map[string]metaField{
	"id":                            func(_ *Meta, a *metaAudience, _ time.Time) any { return a.id },
	"account_id":                    func(_ *Meta, a *metaAudience, _ time.Time) any { return a.account },
	"name":                          func(_ *Meta, a *metaAudience, _ time.Time) any { return a.name },
	"description":                   func(_ *Meta, a *metaAudience, _ time.Time) any { return a.description },
	"subtype":                       func(_ *Meta, a *metaAudience, _ time.Time) any { return a.subtype },
	"customer_file_source":          func(_ *Meta, a *metaAudience, _ time.Time) any { return orAbsent(a.source) },
	"opt_out_link":                  func(_ *Meta, a *metaAudience, _ time.Time) any { return orAbsent(a.optOut) },
	"is_value_based":                func(_ *Meta, a *metaAudience, _ time.Time) any { return a.valueBased },
	"retention_days":                func(_ *Meta, a *metaAudience, _ time.Time) any { return int(a.retention / (24 * time.Hour)) },
	"time_created":                  func(_ *Meta, a *metaAudience, _ time.Time) any { return a.created.Unix() },
	"time_updated":                  func(_ *Meta, a *metaAudience, _ time.Time) any { return a.updated.Unix() },
	"time_content_updated":          timeContentUpdated,
	"operation_status":              func(_ *Meta, a *metaAudience, _ time.Time) any { return a.operation() },
	"delivery_status":               func(m *Meta, a *metaAudience, now time.Time) any { return m.delivery(a, now) },
	"approximate_count_lower_bound": func(m *Meta, a *metaAudience, now time.Time) any { lower, _ := m.bounds(a, now); return lower },
	"approximate_count_upper_bound": func(m *Meta, a *metaAudience, now time.Time) any { _, upper := m.bounds(a, now); return upper },
	"permission_for_actions": func(_ *Meta, a *metaAudience, _ time.Time) any {
		return map[string]bool{"can_edit": a.state != StateFlagged, "can_see_insight": true}
	},
	"delete_time":                       deleteTime,
	"fields_violating_integrity_policy": violatingFields,
	"lookalike_spec":                    func(_ *Meta, a *metaAudience, _ time.Time) any { return a.readSpec() },
	"lookalike_audience_ids":            func(m *Meta, a *metaAudience, _ time.Time) any { return m.lookalikesOf(a) },
}

func (m *Meta) readAudience(c *metaCall) (any, error) { return m.fields(c.audience, c) }

// fields answers what the parameter fields names, and the id.
func (m *Meta) fields(a *metaAudience, c *metaCall) (map[string]any, error) {
	out := map[string]any{"id": a.id}
	if c.params["fields"] == "" {
		return out, nil
	}
	for name := range strings.SplitSeq(c.params["fields"], ",") {
		read, known := metaFields[name]
		if !known {
			return nil, metaParameter(fmt.Sprintf("(#100) Tried accessing nonexisting field (%s) on node type (CustomAudience)", name), "fields")
		}
		if value := read(m, a, c.now); value != nil {
			out[name] = value
		}
	}
	return out, nil
}

// orAbsent leaves a field without value out of the answer.
func orAbsent(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeContentUpdated(_ *Meta, a *metaAudience, _ time.Time) any {
	if a.contentChange.IsZero() {
		return nil
	}
	return a.contentChange.Unix()
}

func deleteTime(_ *Meta, a *metaAudience, _ time.Time) any {
	if a.state != StateExpiring {
		return nil
	}
	return a.deleteTime.Unix()
}

func violatingFields(_ *Meta, a *metaAudience, _ time.Time) any {
	if a.state != StateFlagged {
		return nil
	}
	return []string{"name", "description"}
}

// operation is the operation_status.
func (a *metaAudience) operation() status {
	switch {
	case a.state == StateFlagged:
		return status{471, "Flagged: the audience may suggest restricted content"}
	case a.state == StateExpiring:
		return status{100, "Expiring: in no active ad set for over two years"}
	case a.replace.running():
		return status{414, "A replace of the members is in progress"}
	case a.replace.failed:
		return status{415, "The replace of the members failed"}
	case a.lookalike != nil:
		return status{200, "Normal"}
	case !a.filled:
		return status{410, "No upload yet"}
	}
	return status{200, "Normal"}
}

// delivery is the delivery_status; below 1,000 people an audience cannot be used.
func (m *Meta) delivery(a *metaAudience, now time.Time) status {
	switch lower, _ := m.bounds(a, now); {
	case a.state == StateFlagged:
		return status{400, "This audience cannot be used"}
	case lower < 1000:
		return status{300, "Audience too small"}
	}
	return status{200, "Ready"}
}

// bounds are the approximate counts: -1 before the first fill shows, then a range a hundred wide around the matched people.
func (m *Meta) bounds(a *metaAudience, now time.Time) (lower, upper int) {
	size, shown := a.sizes.at(now.Add(-m.server.cfg.Meta.VisibleAfter))
	if !shown {
		return -1, -1
	}
	matched := int(float64(size) * m.server.cfg.Meta.MatchRate)
	lower = matched / 100 * 100
	return lower, lower + 100
}

var accountFields = []string{"id", "account_id", "tos_accepted", "user_tos_accepted"}

// readAccount reads an ad account: whether its terms are accepted.
func (m *Meta) readAccount(c *metaCall) (any, error) {
	accepted := map[string]int{}
	if c.account.termsAccepted {
		accepted["custom_audience_tos"] = 1
	}
	all := map[string]any{"id": "act_" + c.account.id, "account_id": c.account.id, "tos_accepted": accepted, "user_tos_accepted": accepted}
	asked := map[string]any{"id": all["id"]}
	if c.params["fields"] == "" {
		return asked, nil
	}
	for name := range strings.SplitSeq(c.params["fields"], ",") {
		if !slices.Contains(accountFields, name) {
			return nil, metaParameter(fmt.Sprintf("(#100) Tried accessing nonexisting field (%s) on node type (AdAccount)", name), "fields")
		}
		asked[name] = all[name]
	}
	return asked, nil
}
