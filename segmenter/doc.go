// Package segmenter turns events into membership, right to the second: it trains models, evaluates segments, and keeps the
// projection that reads come from in step with the log.
//
// # One path
//
// Everything that can change membership ends in [Segmenter.Evaluate]: all users or some, at an instant. It computes the users'
// membership and compares it with the one on record; the differences are appended to the log (durable), then projected and
// given to watchers.
//
// # Who is evaluated when
//
// [Segmenter.Touch] names users whose events or profile have changed durably. [Segmenter.MoveUser] writes pins and puts the user
// first. Each evaluation also gives the next instant at which time alone may change the user's answer; these timers are kept in
// the database, those of the next half minute in memory. The loop of [Segmenter.Run] evaluates users who were touched or are due
// in steps, at most four a second, so that under load many users share the cost of a step. A step that fails is repeated, so no
// user is missed. [Segmenter.Lag] shows how far behind the loop is.
//
// An evaluation of everybody runs beside the steps: it computes into a table of its own and commits the differences in pieces,
// leaving out users whom a step has evaluated since. Definitions come into force in this way only, so that at any time all
// memberships follow the same ones.
//
// # Which definitions readers see
//
// Each version of a segment has a number of its own in memberships. Definitions in the catalogue that are not in force yet are
// evaluated beside those that are, under numbers that readers do not know; an edition then names them, all at once. See
// [Segmenter.Edition].
//
// # When it stops
//
// Run begins with an evaluation of everybody at the present instant. That covers what was acknowledged and not evaluated, and
// what fell due while no process ran; no other state needs to survive. The projection is caught up from the log, or rebuilt
// when it comes back empty.
//
// What models and expressions mean is left to rfm, kmeans and expr. The package does not know which database and which cache
// it works with.
package segmenter
