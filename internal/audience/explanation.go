package audience

import "time"

// Explanation says why a user is in a segment at an instant, or is not.
type Explanation struct {
	Member  bool      // whether the user is in
	Holds   bool      // whether the expression holds by itself
	Pin     *Pin      // that decides; nil: none does
	Instead SegmentID // of the exclusive group, that has the user who would be in this one; "" is none
	Clauses []ExplainedClause
	Since   *Change // the newest recorded change, until then, by which the user entered or left; nil: none
	At      time.Time
}

// ExplainedClause is a part of the expression joined by && or || at its top, and the conditions that it consists of.
type ExplainedClause struct {
	Text       string
	Holds      bool
	Conditions []ExplainedCondition
}

// ExplainedCondition is a condition without && and ||, as it holds by itself: a ! before it is not part of it.
type ExplainedCondition struct {
	Text   string
	Holds  bool
	Values []ExplainedValue
}

// ExplainedValue is something that a condition looks at.
type ExplainedValue struct {
	Text   string   // e.g. count("purchase", "30d")
	Value  string   // as text; "missing" when there is none
	Events []string // ids of the newest events, or of those, that decide it
}
