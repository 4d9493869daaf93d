// Package delivery makes a platform hold exactly the members of an audience: it compares target and ledger, sends the
// difference, and writes down what the platform said of each user. It names no vendor; connectors classify, delivery
// retries, waits and isolates.
//
// # Order
//
// Stops go first: who may be held without consent, or was ordered off, is removed before the next request of whatever is
// under way, or by Run when nothing is. Then removals, then adds. Where the platform takes no removals for now, the adds go all the same. A user whose
// identifiers changed is removed under the old ones; the adds are planned after that, from the ledger, so that he is added
// only if the removal was confirmed. Not before it: one row of the ledger, with one set of identifiers, says all that the
// platform may hold of a user.
//
// A platform knows people by their identifiers: with a removed user go others who share one with him. Before a removal
// such members are set back to `sending`, so that the adds that follow restore them; after a stop they are restored at once.
//
// Of an exclusive group at most one audience holds a user: an add's intent is written only while no other ledger of the
// group says that he is or may be held, and two intents of one group are never written at the same time.
//
// # Rebuilds
//
// A large load can go otherwise: by a replacement of all members, or as files. Then nothing else changes the members of the
// audience until the platform has taken in the whole, and before the first batch leaves the ledger says of everybody held
// that he may be lost, and of everybody wanted that he may be held. A stop that comes meanwhile leaves its user out; if he was
// sent already, it ends a replacement with the next batch and follows it at once, and has files that are not handed over made
// anew. What a rebuild leaves, however it ends, the removals and adds settle that follow it, in this sync or the next.
//
// # Intent, then truth
//
// Before a request leaves, its users are `sending` or `removing` in the ledger; after the platform's answer they are what it
// said. Whoever is still `sending` or `removing` when a sync ends, for whatever reason, may or may not be held: the next
// sync sends or removes him again, which does no harm.
//
// # A user's fate
//
// A user may stand in several rows of several requests. His fate is known when the platform has spoken on all of them:
//
//   - every row confirmed: delivered or removed;
//   - some confirmed, the others refused: delivered or removed as well, the reason naming what was refused. The ledger keeps
//     all identifiers that were sent, so that they are not sent again and again while they do not change;
//   - every row refused: rejected, and not tried again with the same identifiers. A removal can end so, too: what a platform
//     refuses by name are the identifiers themselves, by the check that adding applies, so it cannot hold the user by them.
//
// # Values
//
// In a value-based audience each row carries what its user is worth. A member whose value has moved is added again, as he is held:
// the last value stands. Until the platform has confirmed that he is `sending`, with the new value; if it refuses him, he is
// `delivered` with the old one, and the next sync tries again.
//
// # Bad rows
//
// Where the platform refuses rows without naming them, or a request as a whole, the request is halved until the bad rows
// stand alone. That takes at most a set number of requests; who is not settled by then stays unknown for the next sync. A
// row alone in a request that is refused as a whole is only a suspect at first. If the platform takes another row of the
// same batch or a later one, the suspect is at fault. If it refuses eight in a row, or says itself that the audience cannot
// be changed, the audience is at fault: the sync stops and nobody is rejected.
package delivery
