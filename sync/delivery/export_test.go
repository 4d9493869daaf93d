package delivery

import (
	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// SetPageUsers makes pages small enough for a test to have several.
func (d *Deliverer) SetPageUsers(n int) { d.pageUsers = n }

// SpecOf is specOf.
var SpecOf = specOf

// SetChoose has plans choose their way so.
func (d *Deliverer) SetChoose(choose func(destination.Load, destination.Limits) destination.Choice) {
	d.choose = choose
}

// Meets has a request to a destination fail.
func (w *Watcher) Meets(of audience.Destination, failure *destination.Error) {
	w.deliverer.account(of, destination.Limits{}).leave(destination.Pace{}, failure)
}
