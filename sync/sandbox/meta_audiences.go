package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// metaMaxAudiences is the cap of customer-file audiences per ad account.
const metaMaxAudiences = 500

// AudienceState is what happened to a Meta audience outside the calls of its client.
type AudienceState string

// The states of an audience.
const (
	StateNormal   AudienceState = "normal"
	StateDeleted  AudienceState = "deleted"
	StateUnshared AudienceState = "unshared" // no longer shared with the account
	StateFlagged  AudienceState = "flagged"  // status 471: name or description suggest barred facts
	StateExpiring AudienceState = "expiring" // status 100: deleted 90 days from now
)

// metaAudience is a customer list or a lookalike.
type metaAudience struct {
	id, account   string
	name          string
	description   string
	subtype       string
	source        string // customer_file_source
	optOut        string
	valueBased    bool
	retention     time.Duration // 0: members stay for ever
	lookalike     *lookalikeSpec
	origin        string // seed of a lookalike
	state         AudienceState
	deleteTime    time.Time // of an expiring one
	fresh         bool      // the next call misses, see MetaConfig.FreshMiss
	form          string    // how it was first filled: "array" or "string" schema, "" when empty
	filled        bool
	members       *rowSet
	sizes         timeline
	replace       replacement
	created       time.Time
	updated       time.Time
	contentChange time.Time
}

var (
	updateFields = []string{"name", "description", "opt_out_link", "customer_file_source", "audience_labels", "use_in_campaigns",
		"use_for_products", "parent_audience_id", "partner_reference_key", "usage_restriction"}
	createFields = append([]string{"subtype", "is_value_based", "retention_days", "lookalike_spec", "origin_audience_id",
		"enable_fetch_or_create"}, updateFields...)
	fileSources = []string{"USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"}
)

func (m *Meta) createAudience(c *metaCall) (any, error) {
	p := c.params
	if p["name"] == "" {
		return nil, metaParameter("(#100) The parameter name is required", "name")
	}
	a := &metaAudience{account: c.account.id, name: p["name"], description: p["description"], subtype: p["subtype"],
		source: p["customer_file_source"], optOut: p["opt_out_link"], state: StateNormal, members: newRowSet(), created: c.now, updated: c.now}
	switch a.subtype {
	case "CUSTOM":
		if err := m.readCustom(c, a); err != nil {
			return nil, err
		}
	case "LOOKALIKE":
		if err := m.readLookalike(c, a); err != nil {
			return nil, err
		}
	default:
		return nil, metaParameter(fmt.Sprintf("(#100) Invalid parameter subtype: %q", a.subtype), "subtype")
	}
	if p["enable_fetch_or_create"] == "true" && a.lookalike == nil {
		for _, other := range m.live(a.account) {
			if other.name == a.name && other.subtype == a.subtype {
				return map[string]string{"id": other.id}, nil
			}
		}
	}
	if customs := m.live(a.account); a.subtype == "CUSTOM" && countCustom(customs) >= metaMaxAudiences {
		return nil, metaCreate(0, fmt.Sprintf("The ad account has reached its limit of %d custom audiences", metaMaxAudiences))
	}
	a.id = m.newID()
	a.fresh = m.server.cfg.Meta.FreshMiss
	m.audiences[a.id] = a
	return map[string]string{"id": a.id}, nil
}

// readCustom checks what a customer list needs.
func (m *Meta) readCustom(c *metaCall, a *metaAudience) error {
	if !slices.Contains(fileSources, a.source) {
		return metaParameter(fmt.Sprintf("(#100) customer_file_source is required for subtype CUSTOM, one of %v", fileSources), "customer_file_source")
	}
	for _, name := range []string{"lookalike_spec", "origin_audience_id"} {
		if _, sent := c.params[name]; sent {
			return metaParameter("(#100) "+name+" needs subtype LOOKALIKE", name)
		}
	}
	if text, sent := c.params["is_value_based"]; sent {
		var err error
		if a.valueBased, err = strconv.ParseBool(text); err != nil {
			return metaParameter("(#100) is_value_based must be a boolean", "is_value_based")
		}
		if a.valueBased && !c.account.valueTerms { // which of the codes for terms comes here is not confirmed
			return &metaError{Code: 2663, Message: "(#2663) Terms of service have not been accepted"}
		}
	}
	if text, sent := c.params["retention_days"]; sent {
		days, err := strconv.Atoi(text)
		if err != nil || days < 1 || days > 180 {
			return metaParameter("(#100) retention_days must be between 1 and 180", "retention_days")
		}
		a.retention = time.Duration(days) * 24 * time.Hour
	}
	return nil
}

func (m *Meta) updateAudience(c *metaCall) (any, error) {
	a := c.audience
	if err := a.editable(); err != nil {
		return nil, err
	}
	for name, field := range map[string]*string{"name": &a.name, "description": &a.description, "opt_out_link": &a.optOut, "customer_file_source": &a.source} {
		value, sent := c.params[name]
		switch {
		case !sent:
			continue
		case name == "name" && value == "":
			return nil, metaParameter("(#100) name must not be empty", name)
		case name == "customer_file_source" && !slices.Contains(fileSources, value):
			return nil, metaParameter("(#100) Invalid parameter customer_file_source", name)
		}
		*field = value
	}
	a.updated = c.now
	return map[string]bool{"success": true}, nil
}

func (m *Meta) deleteAudience(c *metaCall) (any, error) {
	for _, other := range m.live(c.account.id) {
		if other.origin == c.audience.id {
			return nil, &metaError{Code: 2656, Message: "(#2656) The audience cannot be deleted: lookalikes depend on it"}
		}
	}
	c.audience.remove()
	return map[string]bool{"success": true}, nil
}

func (a *metaAudience) remove() {
	a.state, a.members = StateDeleted, newRowSet()
}

// live are the audiences of an account that exist, in the order of their ids.
func (m *Meta) live(account string) []*metaAudience {
	var out []*metaAudience
	for _, id := range slices.Sorted(maps.Keys(m.audiences)) {
		if a := m.audiences[id]; a.account == account && a.state != StateDeleted {
			out = append(out, a)
		}
	}
	return out
}

func countCustom(audiences []*metaAudience) int {
	n := 0
	for _, a := range audiences {
		if a.subtype == "CUSTOM" {
			n++
		}
	}
	return n
}

// editable refuses writes to a flagged audience.
func (a *metaAudience) editable() error {
	if a.state == StateFlagged {
		return &metaError{Code: 100, Subcode: 1713228, Message: "(#100) This audience cannot be edited: it was flagged for restricted content"}
	}
	return nil
}

// accepts tells whether rows of this kind may come into the audience.
func (a *metaAudience) accepts(u *upload) error {
	if err := a.editable(); err != nil {
		return err
	}
	form, source, other := "array", "FILE_IMPORTED.MULTI_HASHES", "HASHES_OR_USER_IDS"
	if u.single {
		form = "string"
	}
	if a.form == "string" {
		source, other = other, source
	}
	switch {
	case a.subtype != "CUSTOM":
		return metaUpdate(0, "Only customer lists take users")
	case a.form != "" && a.form != form:
		return metaUpdate(0, fmt.Sprintf("The data source %s of the audience does not support %s", source, other))
	case a.valueBased && !u.valueBased:
		return metaParameter("(#100) Value-Based Custom Audience requires LOOKALIKE_VALUE attribute", "payload")
	}
	a.form = form
	return nil
}

// changed notes the new size. showAfter is the delay of the counts.
func (a *metaAudience) changed(now time.Time, showAfter time.Duration) {
	a.contentChange = now
	a.replace.failed = false
	a.sizes.note(now, now.Add(-showAfter), len(a.members.rows))
}

// settle lets time pass: a replace ends, members lapse, an expiring audience goes.
func (a *metaAudience) settle(now time.Time) {
	a.endReplace(now)
	if a.state == StateExpiring && !now.Before(a.deleteTime) {
		a.remove()
	}
	if a.retention == 0 {
		return
	}
	for id, held := range a.members.rows {
		if now.Sub(held.added) >= a.retention {
			a.members.remove(id)
		}
	}
}
