// Package privacy forgets users. In go orders to erase one; out come, by a run, stops to platforms, deletions from the
// stores, and what each platform has confirmed. It knows neither drivers nor platforms nor a wire format.
package privacy
