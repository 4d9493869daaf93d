package audience

import "time"

// Meta is what every stored resource carries beside its own fields. The store sets it.
type Meta struct {
	Number     Number
	Etag       string // changes with every write
	CreateTime time.Time
	UpdateTime time.Time
}

// Segment is a name and one boolean expression over events, profile and scores.
type Segment struct {
	Meta        `json:"-"`
	ID          SegmentID
	Title       string // for people; may be ""
	Description string
	Expression  string // CEL, see docs/expressions.md
	Disabled    bool   // keeps no members
	Group       string // exclusive group: of its segments a user is in the first by Priority only; "" is none
	Priority    int    // within Group, the lowest first; equal ones by Number

	// Version counts the changes of Expression, Group and Priority, from 1. The store sets it and its time.
	Version    int
	DefineTime time.Time
}

// Definition is the newest version of the segment, without a number of its own.
func (s Segment) Definition() Definition {
	return Definition{ID: s.ID, Segment: s.Number, Version: s.Version, Expression: s.Expression, Group: s.Group, Priority: s.Priority}
}

// SegmentVersion is what a segment's definition was from a time on.
type SegmentVersion struct {
	Definition
	DefineTime time.Time
}

// Membership is all segments of a user at a version of the membership log.
type Membership struct {
	User     UserID
	Segments []Number // ascending
	Version  uint64   // of the log entry that made it so; 0 for a user who never was in any segment
}

// Change is one user's step from one membership to the next: an entry of the append-only log.
type Change struct {
	Membership          // after the change
	Entered    []Number // ascending
	Left       []Number // ascending
	Time       time.Time
	Cause      string // run that caused it, e.g. "runs/0192…"
}

// ChangeOf is a user's step between two memberships, each ascending. Its time, cause and version are yet to be given.
func ChangeOf(user UserID, from, to []Number) Change {
	change := Change{Membership: Membership{User: user, Segments: to}}
	for len(to) > 0 || len(from) > 0 {
		switch {
		case len(from) == 0 || len(to) > 0 && to[0] < from[0]:
			change.Entered, to = append(change.Entered, to[0]), to[1:]
		case len(to) == 0 || from[0] < to[0]:
			change.Left, from = append(change.Left, from[0]), from[1:]
		default:
			to, from = to[1:], from[1:]
		}
	}
	return change
}

// WatchedChange is what readers see change for one user at a version of the log.
type WatchedChange struct {
	User    UserID
	Version uint64
	Entered []SegmentID // of those watched
	Left    []SegmentID
	Time    time.Time
	Cause   string
	Cursor  string // the place behind the change in the watcher's stream
}

// Comparison is what another definition of a segment would change.
type Comparison struct {
	At       time.Time
	Segments []ComparedSegment // the one compared, then those that depend on it and would change, by id
}

// ComparedSegment is how the members of one segment would change.
type ComparedSegment struct {
	ID                            SegmentID
	Entering, Leaving, Staying    int64
	EnteringSample, LeavingSample []UserID // the same ones for the same data
}

// Preview says for whom an expression is true.
type Preview struct {
	Members int64    // for whom it is true
	Users   int64    // all there are
	Sample  []UserID // of the members; the same ones for the same data
	Clauses []ClauseCount
	At      time.Time
}

// ClauseCount is how many users one clause of an expression holds for by itself.
type ClauseCount struct {
	Clause string // as written
	Users  int64
}
