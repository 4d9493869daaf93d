package delivery

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kohorta/kohorta/sync/plan"
)

// Report is what a sync did.
type Report struct {
	Plan      plan.Plan
	Held      bool // nothing was sent: Plan.Hold says why
	Additions Outcome
	Removals  Outcome
	Changes   Outcome          // confirmed once the old identifiers are removed and the new ones delivered
	Revalued  Outcome          // sent again with another value
	Restored  Outcome          // members sent again as they were: a removed user shares an identifier with them, or all were rebuilt; not in the plan
	Rejected  map[string]int64 // users of all five, by the platform's reason
	Partly    map[string]int64 // confirmed users of whose identifiers the platform refused some, by its reason
	Requests  int64            // sent to change members, repeats included
}

func (r *Report) outcomes() [kinds]*Outcome {
	return [kinds]*Outcome{addition: &r.Additions, removal: &r.Removals, change: &r.Changes, revaluation: &r.Revalued, restoral: &r.Restored}
}

// Notes say in words how many users the platform refused, and why.
func (r *Report) Notes() (notes []string) {
	for _, reason := range slices.Sorted(maps.Keys(r.Rejected)) {
		notes = append(notes, fmt.Sprintf("%d users rejected: %s", r.Rejected[reason], reason))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Partly)) {
		notes = append(notes, fmt.Sprintf("%d users confirmed, but some of their identifiers rejected: %s", r.Partly[reason], reason))
	}
	if before := r.Plan.Suppressed[plan.RejectedBefore]; before > 0 {
		notes = append(notes, fmt.Sprintf("%d users not sent again: an earlier sync says why the platform rejected the identifiers they still have", before))
	}
	return notes
}

// Outcome is what became of one kind of step. Planned is the sum of the others.
type Outcome struct {
	Planned   int64 // as the plan has it; if members changed while it was sent, what was found then
	Confirmed int64 // by the platform's own words
	Rejected  int64
	Unknown   int64 // the platform may or may not have done it; the next sync does it again
	NotTried  int64 // the sync ended before
}

// close completes an outcome; finished says that there was nothing left to try.
func (o *Outcome) close(tried int64, finished bool) {
	if finished {
		o.Planned = tried
	}
	o.Planned = max(o.Planned, tried)
	o.Unknown = tried - o.Confirmed - o.Rejected
	o.NotTried = o.Planned - tried
}

// Counts are the figures of a run.
func (r *Report) Counts() map[string]int64 {
	counts := map[string]int64{"members": r.Plan.Members, "unchanged": r.Plan.Unchanged, "requests": r.Requests}
	for reason, n := range r.Plan.Suppressed {
		counts["suppressed."+reason] = n
	}
	for kind, o := range r.outcomes() {
		name := kindNames[kind]
		counts[name+".planned"] = o.Planned
		counts[name+".confirmed"] = o.Confirmed
		counts[name+".rejected"] = o.Rejected
		counts[name+".unknown"] = o.Unknown
		counts[name+".not_tried"] = o.NotTried
	}
	return counts
}
