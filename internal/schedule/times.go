package schedule

import (
	"hash/fnv"
	"strings"
	"time"
	_ "time/tzdata" // zones are known on machines without a database of them, too

	"github.com/robfig/cron/v3"

	"github.com/kohorta/kohorta/internal/audience"
)

// Bounds of a schedule.
const (
	longestJitter = 24 * time.Hour
	longestQuiet  = 24 * time.Hour
	leastQuiet    = time.Second
)

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Times are the instants of a schedule for one resource. The zero value has none.
type Times struct {
	spec *cron.SpecSchedule // its location is UTC: see Next
	zone *time.Location
	late time.Duration // by which jitter puts off every instant
}

// Parse is the schedule of a resource, by its name, or an InvalidError of all that is wrong with it.
func Parse(s audience.Schedule, subject string) (Times, error) {
	var v audience.Violations
	if s.OnChange != 0 && (s.OnChange < leastQuiet || s.OnChange > longestQuiet) {
		v.Add("on_change", "is %s; use %s to %s, or leave it out", s.OnChange, leastQuiet, longestQuiet)
	}
	if s.Jitter < 0 || s.Jitter > longestJitter {
		v.Add("jitter", "is %s; use 0s to %s", s.Jitter, longestJitter)
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "Local" {
		v.Add("time_zone", "%.80q is not an IANA time zone; use a name such as Europe/Warsaw", s.TimeZone)
	}
	if s.Cron == "" {
		if s.TimeZone != "" || s.Jitter != 0 {
			v.Add("cron", "is missing, yet time_zone or jitter is set; set cron or remove them")
		}
		return Times{}, v.Err()
	}
	spec := parse(&v, s.Cron)
	if err := v.Err(); err != nil {
		return Times{}, err
	}
	times := Times{spec: spec, zone: zone}
	if s.Jitter > 0 {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(subject))
		times.late = time.Duration(hash.Sum64() % uint64(s.Jitter)).Truncate(time.Second)
	}
	return times, nil
}

func parse(v *audience.Violations, text string) *cron.SpecSchedule {
	if strings.Contains(text, "TZ=") {
		v.Add("cron", "names a time zone; put it into time_zone")
		return nil
	}
	parsed, err := parser.Parse(text)
	spec, fields := parsed.(*cron.SpecSchedule)
	switch {
	case err != nil:
		v.Add("cron", "%.80q cannot be read (%v); write minute, hour, day, month, weekday (0 to 6), such as \"30 6 * * 1-5\", or @daily", text, err)
	case !fields:
		v.Add("cron", "%.80q has no set times; write five fields such as \"*/30 * * * *\"", text)
	default:
		spec.Location = time.UTC
		if spec.Next(time.Unix(0, 0).UTC()).IsZero() {
			v.Add("cron", "%.80q never comes; there is no such day", text)
		}
	}
	return spec
}

// everyHour are the bits of an hour field that names every hour.
const everyHour = 1<<24 - 1

// Next is the first instant after another; the zero time for none.
func (t Times) Next(after time.Time) time.Time {
	if t.spec == nil {
		return time.Time{}
	}
	after = after.Add(-t.late).In(t.zone)
	if t.spec.Hour&everyHour == everyHour {
		elapsing := *t.spec
		elapsing.Location = t.zone
		return elapsing.Next(after).Add(t.late).UTC()
	}
	for wall := onWall(after); ; {
		if wall = t.spec.Next(wall); wall.IsZero() {
			return wall
		}
		if instant := t.instantOf(wall); instant.After(after) {
			return instant.Add(t.late).UTC()
		}
	}
}

// onWall is the wall time, as a time in UTC.
func onWall(at time.Time) time.Time {
	year, month, day := at.Date()
	return time.Date(year, month, day, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
}

// instantOf is when a wall time first comes, or, if the clocks skip it, when they do.
func (t Times) instantOf(wall time.Time) time.Time {
	var skipping time.Time
	for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // before the clocks change, if they do, then after
		_, offset := wall.Add(around).In(t.zone).Zone()
		instant := wall.Add(-time.Duration(offset) * time.Second).In(t.zone)
		if onWall(instant).Equal(wall) {
			return instant
		}
		if skipping.IsZero() {
			skipping, _ = instant.ZoneBounds()
		}
	}
	return skipping
}

// Missed is the newest instant after one and not after another; the zero time for none.
func (t Times) Missed(after, now time.Time) (missed time.Time) {
	for back := 24 * time.Hour; missed.IsZero(); back *= 30 { // so that not every minute of a year is looked at
		from := now.Add(-back)
		if !from.After(after) {
			from = after
		}
		for next := t.Next(from); !next.IsZero() && !next.After(now); next = t.Next(next) {
			missed = next
		}
		if from.Equal(after) {
			break
		}
	}
	return missed
}
