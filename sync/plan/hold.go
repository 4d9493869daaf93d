package plan

import (
	"slices"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/kohorta/kohorta/internal/audience"
)

const (
	// DefaultRemovalShare of what is held may be removed without asking, where an audience sets no share of its own.
	DefaultRemovalShare = 0.3
	// FewRemovals are never held for their share: in a small audience one user is a large share.
	FewRemovals = 10
	// DefaultSourceAge is how old membership may be, where an audience sets no age of its own.
	DefaultSourceAge = 48 * time.Hour
	// Memory is how far back past syncs tell what is usual: eight weeks have every day of the week eight times, and are
	// short enough for a year's seasons not to widen the bands.
	Memory = 56 * 24 * time.Hour

	enough = 7 // records, one a day, that tell what is usual
)

// The bands. They are wide: a season, a campaign that doubles the traffic, a weekend stay within them.
const (
	smallest   = 0.6 // of the fewest members of past syncs
	largest    = 2.5 // times the most
	edited     = 0.2 // of what is held may come and go with a changed expression
	matchable  = 0.7 // of the smallest share of members with identifiers
	fewestSeen = 0.6 // of the fewest users with events
	distinct   = 0.8 // of the smallest share of distinct events
	tolerance  = 30 * time.Minute
)

// Evidence is what a plan is judged by. Without records only the plan itself is.
type Evidence struct {
	Now             time.Time
	MaxRemovalShare float64
	MaxSourceAge    time.Duration
	Expression      string // a digest of the segment's
	Source          audience.Source
	Past            []audience.SyncRecord // newest first, at most one a day, none older than Memory
}

// english writes numbers as people read them: 1,137.
var english = message.NewPrinter(language.English)

// hold says why a plan should wait for a person. Removals that were begun before are not counted again: they were planned,
// and approved if need be, when they began. Stops wait for nobody and are not counted at all.
func (e Evidence) hold(p Plan, leavings int64) (reasons []string) {
	if leavings+p.Additions+p.Changes == 0 {
		return nil
	}
	say := func(when bool, format string, args ...any) {
		if when {
			reasons = append(reasons, english.Sprintf(format, args...))
		}
	}
	maxShare, maxAge := e.MaxRemovalShare, e.MaxSourceAge
	if maxShare == 0 {
		maxShare = DefaultRemovalShare
	}
	if maxAge == 0 {
		maxAge = DefaultSourceAge
	}
	say(leavings > 0 && p.Members == 0, "the segment is empty while the platform may hold %d users", p.Held)
	share := float64(leavings) / float64(max(p.Held, 1))
	say(leavings > FewRemovals && share > maxShare, "it would remove %d of %d users (%.0f %%), more than the %.0f %% the audience allows",
		leavings, p.Held, 100*share, 100*maxShare)
	age := e.Now.Sub(e.Source.Evaluated)
	say(!e.Source.Evaluated.IsZero() && age > maxAge, "membership was last computed %s ago, and %s is allowed", age.Round(time.Minute), maxAge)

	if len(e.Past) == 0 {
		return reasons
	}
	moved := p.Additions + leavings
	say(e.Past[0].Expression != e.Expression && moved > FewRemovals && float64(moved) > edited*float64(p.Held),
		"the segment's expression was changed since the last sync; with it %d users would come and %d go, of %d held", p.Additions, leavings, p.Held)
	if len(e.Past) < enough {
		return reasons
	}
	for _, reason := range e.unusual(p) {
		say(true, "%s", reason)
	}
	return reasons
}

// unusual compares a plan with past syncs.
func (e Evidence) unusual(p Plan) (reasons []string) {
	low, high := band(e.Past, func(r audience.SyncRecord) float64 { return float64(r.Members) })
	if members := float64(p.Members); members < smallest*low-FewRemovals || members > largest*high+FewRemovals {
		reasons = append(reasons, english.Sprintf("the segment has %d members; it had %.0f to %.0f at the syncs of the last weeks", p.Members, low, high))
	}
	low, _ = band(e.Past, func(r audience.SyncRecord) float64 { return share(r.Members-r.Unidentifiable, r.Members) })
	if now := share(p.Members-p.Suppressed[Unidentifiable], p.Members); now < matchable*low {
		reasons = append(reasons, english.Sprintf("only %.0f %% of the members have an identifier to be matched by; it was %.0f %% at least", 100*now, 100*low))
	}
	low, _ = band(e.Past, func(r audience.SyncRecord) float64 { return float64(r.Source.Users) })
	if users := float64(e.Source.Users); users < fewestSeen*low-FewRemovals {
		reasons = append(reasons, english.Sprintf("%.0f users had events in the last seven days, where there were %.0f at least: part of the events may be missing", users, low))
	}
	low, _ = band(e.Past, func(r audience.SyncRecord) float64 { return share(r.Source.Distinct, r.Source.Events) })
	if now := share(e.Source.Distinct, e.Source.Events); now < distinct*low {
		reasons = append(reasons, english.Sprintf("%.0f %% of the events of the last seven days repeat others, where %.0f %% did at most: they may have been imported twice", 100*(1-now), 100*(1-low)))
	}
	if !e.Source.Newest.IsZero() && !slices.ContainsFunc(e.Past, func(r audience.SyncRecord) bool { return r.Source.Newest.IsZero() }) {
		low, high = band(e.Past, func(r audience.SyncRecord) float64 { return r.Time.Sub(r.Source.Newest).Hours() })
		if lag := e.Now.Sub(e.Source.Newest).Hours(); lag < low-tolerance.Hours() || lag > high+tolerance.Hours() {
			reasons = append(reasons, english.Sprintf("the newest events are %.1f hours old, where they were %.1f to %.1f: they may be late, or their times shifted by a time zone", lag, low, high))
		}
	}
	return reasons
}

// band is the least and the most of what past syncs had.
func band(past []audience.SyncRecord, of func(audience.SyncRecord) float64) (low, high float64) {
	low, high = of(past[0]), of(past[0])
	for _, record := range past[1:] {
		low, high = min(low, of(record)), max(high, of(record))
	}
	return low, high
}

// share is a part of a whole; of nothing it is 1, which is what nothing to complain about looks like.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// Covers reports whether the approval of a held plan allows p as well: it does no more, but for what a few hours change.
func Covers(held audience.SyncPlan, p Plan) bool {
	within := func(now, then int64) bool { return float64(now) <= 1.1*float64(then)+FewRemovals }
	return within(p.Removals-p.Stops, held.Removals-held.Stops) && within(p.Additions, held.Additions) && within(p.Changes, held.Changes)
}
