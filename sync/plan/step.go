package plan

import (
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// Step is what a sync does about one user.
type Step uint8

// The steps.
const (
	Keep    Step = iota // nothing: held as wanted, or neither wanted nor held, or refused before as wanted
	Add                 // send what is wanted
	Remove              // remove what is held or may be held
	Change              // remove what is or may be held, then add what is wanted: the identifiers differ
	Revalue             // send what is held again, with another value
)

// Of is the step for a user. What was being sent or removed when a sync ended may or may not be held. If it is what is
// wanted, it is sent again; if not, it is removed.
func Of(row audience.SyncRow) Step {
	wanted := len(row.Wanted) > 0
	same := slices.Equal(row.Wanted, row.Held.Identifiers)
	switch {
	case row.Moved && wanted && row.Held.State == audience.DeliveryDelivered:
		return Revalue
	case !wanted && row.Held.State.MayHold():
		return Remove
	case !wanted:
		return Keep
	case row.Held.State == audience.DeliveryDelivered && same, row.Held.State == audience.DeliveryRejected && same:
		return Keep
	case row.Held.State.MayHold() && !same:
		return Change
	}
	return Add
}

// resend reports whether the step repeats one whose outcome is unknown.
func resend(row audience.SyncRow) bool {
	return row.Held.State == audience.DeliverySending || row.Held.State == audience.DeliveryRemoving
}
