package audience

import "time"

// Schedule says when work begins by itself. The zero value is never.
type Schedule struct {
	Cron     string        `json:",omitempty"` // five fields, or @daily and the like; "": at no set time
	TimeZone string        `json:",omitempty"` // IANA name of the zone of Cron; default UTC
	Jitter   time.Duration `json:",omitempty"` // the work begins later by a part of this, always the same for a resource
	OnChange time.Duration `json:",omitempty"` // quiet time after a change of the members; 0: changes begin nothing
}
