package destination

// Status is the platform's own view of an audience. Sizes are the platform's estimates, hours late and rounded: never
// compare them with a ledger.
type Status struct {
	State    State
	Writable bool   // members may be added and removed now
	Low      int64  // bounds of the size; -1 while the platform has no figure
	High     int64  //
	Reason   string // why it is not ready, in the platform's words
	Remedy   string // what a person can do, one sentence; "" when nobody need act
}

// State is what advertisers can do with an audience.
type State uint8

// The states.
const (
	Ready      State = iota + 1 // usable in advertisements
	Processing                  // being filled; wait
	TooSmall                    // too few matched users to be used; add more
	Expiring                    // usable, but will be deleted unless it is used
	Blocked                     // flagged or failed; a person must act
	Expired                     // no longer usable; create a new one
)

func (s State) String() string {
	names := [...]string{"unknown", "ready", "processing", "too small", "expiring", "blocked", "expired"}
	if int(s) < len(names) {
		return names[s]
	}
	return names[0]
}
