// Package schedule begins work by itself: at set times, after changes of members, and where a process that worked on it has
// ended. What there is to do, what runs there were and how a run is begun it is told.
//
// # Times
//
// Cron expressions of five fields, in a time zone. Where every hour is named, time is counted as it passes: the hour that
// clocks skip has no instants, the one they repeat has them twice. Otherwise instants are of the clock on the wall: one in an
// hour that is skipped comes when the clocks jump, one in an hour that is repeated comes the first time. Jitter puts all
// instants of a resource off by the same part of it.
//
// # Once
//
// How far a schedule is done stands in the runs it has begun, nowhere else. However many instants have passed since, one run
// makes them good, at once after a start, or after the end of a run that was under way. While a held plan waits for a
// person nothing is begun.
package schedule
