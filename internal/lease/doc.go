// Package lease gives a name (of an audience, of the part of the one writer) to one of several processes at a time.
//
// # Holding
//
// A holder gives signs of life to a store that all processes share. It is certain of its lease for one term after the last
// sign that it knows to have arrived, by its own clock, counted from before it was sent. Others may claim the name one and a
// half terms after the last sign, by the store's clock. So there is never more than one process that is certain, whatever
// the clocks show, as long as they run about equally fast. A claim names the holder it succeeds, and the store lets only one
// succeed each.
//
// A lease that was not certain for an instant has ended for good, even if nobody else wants the name: work that was begun
// under it ends, too.
//
// # Fencing
//
// A process that was paused does not know that its lease has ended before it looks, and what it sends between two looks
// is late. So each lease has a fence, higher than those before: what is written under it bears a version that begins
// there, and an earlier holder's late rows are outranked. What cannot bear a version, such as a request to a platform,
// must be followed by another look; see sync/delivery.
package lease
