package audience

import "time"

// Erasure is the order to erase a user. What identifies the user is kept until it is done; then only the tombstone remains,
// by which the id is recognised but cannot be read.
type Erasure struct {
	ID          string       // the tombstone in short: the same for every erasure of a user
	User        UserID       // "" once done
	Identifiers []Identifier // by which platforms may know her; none once done
	State       ErasureState
	Time        time.Time // of the order
}

// ErasureState is how far an erasure has come.
type ErasureState string

// The states. While an erasure is pending or done, nothing of the user is taken in.
const (
	ErasurePending  ErasureState = "pending"
	ErasureDone     ErasureState = "done"
	ErasureReadmits ErasureState = "readmitted" // the id may be used again, as of a new person
)

// StopErased is the reason of the stop that takes an erased user off all platforms.
const StopErased = "erased"

// Action is an entry of the audit: who did what, when. It holds nothing personal.
type Action struct {
	ID        string // in order of time
	Time      time.Time
	Actor     string // as the caller named itself; "" when it did not
	Call      string // e.g. "AudienceService.ApproveSync", or "POST /v1/moves"
	Resource  string // name of what it was done to, e.g. "audiences/vip"; "" when that would name a user
	Run       RunID  // that it started; "": none
	RequestID string // as the caller named the request; "" when it did not
}

// Stored is one thing that is stored of a user: one field is set.
type Stored struct {
	Profile    *Profile
	Consent    *Consent
	Event      *Event
	Membership *Membership
	Change     *Change
	Move       *StoredMove
	Delivery   *StoredDelivery
	Stop       *Stop
	Other      *StoredRow
}

// StoredMove is a move as it was asked for, and when.
type StoredMove struct {
	Move
	Time time.Time
}

// StoredDelivery is a row of an audience's ledger.
type StoredDelivery struct {
	Audience Number
	Delivery
}

// StoredRow is a row of a table that has no noun of its own.
type StoredRow struct {
	Table   string
	Columns map[string]string // as text
}
