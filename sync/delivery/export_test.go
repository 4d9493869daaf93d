package delivery

import "github.com/kohorta/kohorta/sync/destination"

// SetPageUsers makes pages small enough for a test to have several.
func (d *Deliverer) SetPageUsers(n int) { d.pageUsers = n }

// SpecOf is specOf.
var SpecOf = specOf

// SetChoose has plans choose their way so.
func (d *Deliverer) SetChoose(choose func(destination.Load, destination.Limits) destination.Choice) {
	d.choose = choose
}
