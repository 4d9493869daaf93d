package plan

import "fmt"

const (
	// DefaultRemovalShare of what is held may be removed without asking, where an audience sets no share of its own.
	DefaultRemovalShare = 0.3
	// FewRemovals are never held for their share: in a small audience one user is a large share.
	FewRemovals = 10
)

// hold says why a plan should wait for a person. Removals that were begun before are not counted again: they were planned,
// and approved if need be, when they began.
func hold(p Plan, leavings int64, maxShare float64) (reasons []string) {
	if maxShare == 0 {
		maxShare = DefaultRemovalShare
	}
	if leavings > 0 && p.Members == 0 {
		reasons = append(reasons, fmt.Sprintf("the segment is empty while the platform may hold %d users", p.Held))
	}
	if share := float64(leavings) / float64(max(p.Held, 1)); leavings > FewRemovals && share > maxShare {
		reasons = append(reasons, fmt.Sprintf("it would remove %d of %d users (%.0f %%), more than the %.0f %% the audience allows",
			leavings, p.Held, 100*share, 100*maxShare))
	}
	return reasons
}
