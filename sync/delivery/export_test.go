package delivery

// SetPageUsers makes pages small enough for a test to have several.
func (d *Deliverer) SetPageUsers(n int) { d.pageUsers = n }

// SpecOf is specOf.
var SpecOf = specOf
