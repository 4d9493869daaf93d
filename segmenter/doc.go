// Package segmenter turns events into membership, right to the second: it trains models, evaluates segments, and keeps the
// projection that reads come from in step with the log.
//
// # One path
//
// Everything that can change membership ends in [Segmenter.Evaluate]: all users or some, at an instant. One query computes
// what the users' membership is; it is compared with the one on record; the differences are appended to the log (durable),
// then projected and given to watchers.
//
// # Who is evaluated when
//
// [Segmenter.Touch] names users of whom something durable has changed: events, profiles. [Segmenter.MoveUser] writes pins
// and puts the user first. With each evaluation the query also says at which next instant time alone may change the
// user's answer; these timers are kept in the database, the next half minute of them in memory. The loop of
// [Segmenter.Run] takes whoever was touched or is due in steps, at most four a second, so that under load a step's cost is
// shared by many users. A step that fails is repeated; nobody is ever forgotten. [Segmenter.Lag] shows how far behind it is.
//
// An evaluation of everybody runs beside the steps: it computes into a table of its own and commits the differences piece by
// piece, passing over users whom a step evaluated since. Definitions come into force this way only, so that at any time all
// memberships follow the same ones.
//
// # Which definitions readers see
//
// A version of a segment has a number of its own in memberships. What the catalogue asks for and is not in force is evaluated
// beside what is, under numbers that nobody sees; an edition then names them, all at once. See [Segmenter.Edition].
//
// # When it stops
//
// Run begins with an evaluation of everybody at the present instant. That makes good whatever was acknowledged and not
// evaluated, and whatever fell due, while no process ran; no other state needs to survive. The projection is caught up from
// the log, or rebuilt when it comes back empty.
//
// What a model or an expression means is known to the rooms below (rfm, kmeans, expr); which database and which cache
// answer is known to nobody here.
package segmenter
