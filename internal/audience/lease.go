package audience

import "time"

// LeaseState is who has a name, or had it last: an audience, or the part of the one writer.
type LeaseState struct {
	Fence    uint64 // rises from holder to holder; 0: nobody ever had it
	Holder   string
	Idle     time.Duration // since the holder's last sign of life, by the store's clock
	Released bool
}
