// Package schedule starts work by itself: at set times, after changes of members, and when the process that worked on it has
// died. It is told what there is to do, which runs there were, and how to start one.
//
// # Times
//
// Times are cron expressions of five fields, in a time zone. If every hour is named, elapsed time counts: the hour that clocks
// skip has no instants, the one they repeat has them twice. Otherwise wall time counts: an instant in a skipped hour comes
// when the clocks jump, one in a repeated hour comes the first time. Jitter delays all instants of a resource by the same
// part of it.
//
// # Once
//
// How far a schedule is done follows from the runs it has started, and is stored nowhere else. However many instants were
// missed, one run makes up for them, right after the start of the service or after the run that was under way. While a held
// plan waits for approval nothing is started.
package schedule
