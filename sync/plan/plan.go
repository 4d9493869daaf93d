package plan

import (
	"github.com/kohorta/kohorta/internal/audience"
)

// RejectedBefore is the reason, in SyncPlan.Suppressed, of members whom the platform refused with the very identifiers
// they still have.
const RejectedBefore = "rejected_before"

// Unidentifiable is the reason of members without an identifier the destination carries.
const Unidentifiable = "unidentifiable"

// Plan is the sum of the steps.
type Plan struct {
	audience.SyncPlan
	Held    int64 // users the platform holds or may hold
	Resends int64 // of Additions, Removals and Changes: the outcome of an earlier sync is unknown
}

// Tally sums steps up. The zero value is empty.
type Tally struct {
	plan     Plan
	leavings int64 // removals nobody has approved yet
}

// Count takes a user in and gives his step.
func (t *Tally) Count(row audience.SyncRow) Step {
	step := Of(row)
	switch step {
	case Keep:
	case Add:
		t.plan.Additions++
	case Remove:
		t.plan.Removals++
		switch {
		case row.Stop:
			t.plan.Stops++
		case row.Held.State != audience.DeliveryRemoving:
			t.leavings++
		}
	case Change:
		t.plan.Changes++
	case Revalue:
		t.plan.Revalued++
	}
	if step != Keep && resend(row) {
		t.plan.Resends++
	}
	if row.Suppressed != "" {
		if t.plan.Suppressed == nil {
			t.plan.Suppressed = map[string]int64{}
		}
		t.plan.Suppressed[row.Suppressed]++
	}
	return step
}

// Plan is the sum with those about whom target and ledger agree. Its members add up: they are unchanged, added, changed, revalued
// or suppressed. Only users with a step were counted; see SyncTotals for the others. Hold is what the evidence says against it.
func (t *Tally) Plan(totals audience.SyncTotals, evidence Evidence) Plan {
	p := t.plan
	if totals.Rejected > 0 {
		if p.Suppressed == nil {
			p.Suppressed = map[string]int64{}
		}
		p.Suppressed[RejectedBefore] = totals.Rejected
	}
	p.Unchanged, p.Held = totals.Unchanged, totals.Held
	p.Members = p.Unchanged + p.Additions + p.Changes + p.Revalued
	for _, n := range p.Suppressed {
		p.Members += n
	}
	p.Hold = evidence.hold(p, t.leavings)
	return p
}

// Steps is how many users there is something to do about.
func (p *Plan) Steps() int64 { return p.Additions + p.Removals + p.Changes + p.Revalued }
