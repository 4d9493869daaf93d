package audience

import (
	"strconv"
	"time"
)

// Bounds of a move.
const (
	MaxMoveSegments   = 100
	MaxReasonBytes    = 1024
	MaxRequestIDBytes = 256
	maxPinned         = 100 * 366 * 24 * time.Hour
)

// Move is a manual override: from its return on, the user is in the segments of Into and out of those of OutOf, whatever
// the expressions say, until it expires or a later move says otherwise.
type Move struct {
	User    UserID
	Into    []SegmentID // at most one of an exclusive group
	OutOf   []SegmentID
	Release []SegmentID // the computed answer stands again
	Reason  string      // for people; may be ""
	Actor   string      // who asks for it, e.g. "crm"; may be ""
	Expires time.Time   // zero: never
	// RequestID makes a repeat of the move do nothing twice, however late it comes. "" is a move of its own.
	RequestID string
}

// Validate says all that is wrong with the move by itself; now is the time at which Expires must lie ahead.
func (m *Move) Validate(now time.Time) error {
	var v Violations
	v.Merge("", m.User.Validate())
	named := map[SegmentID]string{}
	for _, list := range []struct {
		field string
		ids   []SegmentID
	}{{"into", m.Into}, {"out_of", m.OutOf}, {"release", m.Release}} {
		for i, id := range list.ids {
			field := list.field + "[" + strconv.Itoa(i) + "]"
			if other, twice := named[id]; twice {
				v.Add(field, "repeats %s; name a segment once", other)
			}
			named[id] = field
		}
	}
	switch {
	case len(named) == 0:
		v.Add("into", "is empty, as are out_of and release; name at least one segment")
	case len(named) > MaxMoveSegments:
		v.Add("into", "names %d segments with out_of and release; at most %d are allowed", len(named), MaxMoveSegments)
	}
	if len(m.Reason) > MaxReasonBytes {
		v.Add("reason", "has %d bytes; at most %d are allowed", len(m.Reason), MaxReasonBytes)
	}
	if m.Actor != "" {
		v.Merge("", validText("actor", m.Actor, MaxRequestIDBytes))
	}
	if m.RequestID != "" {
		v.Merge("", validText("request_id", m.RequestID, MaxRequestIDBytes))
	}
	if !m.Expires.IsZero() {
		switch {
		case !m.Expires.After(now):
			v.Add("expires", "is in the past; name a time ahead, or none for ever")
		case m.Expires.Sub(now) > maxPinned:
			v.Add("expires", "is more than a hundred years ahead; leave it out for ever")
		}
	}
	return v.Err()
}

// Held is what a pin says.
type Held int8

// What a pin may say.
const (
	HeldOut  Held = -1
	Released Held = 0
	HeldIn   Held = 1
)

// Pin is what moves say of a user and a segment: of several the one with the highest version stands.
type Pin struct {
	User      UserID
	Segment   Number
	Held      Held
	Reason    string
	Actor     string
	RequestID string
	Time      time.Time
	Expires   time.Time // zero: never
	Version   uint64
}

// Timer is a user to look at again.
type Timer struct {
	Due  time.Time
	User UserID
}
