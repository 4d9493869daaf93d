package expr

import (
	"fmt"
	"strings"
	"time"
)

// calendar is a window that begins and ends with days, weeks (from Monday), months or years of a time zone.
type calendar struct {
	unit string // day, week, month or year; "" is no calendar window
	back int    // 0: the one under way, 1: the one before it
	zone *time.Location
}

var calendars = map[string]calendar{
	"today": {unit: "day"}, "yesterday": {unit: "day", back: 1},
	"this week": {unit: "week"}, "last week": {unit: "week", back: 1},
	"this month": {unit: "month"}, "last month": {unit: "month", back: 1},
	"this year": {unit: "year"}, "last year": {unit: "year", back: 1},
}

// parseCalendar reads "this month" or "this month in Europe/Berlin"; without a zone it is UTC. It reports whether s is of that form.
func parseCalendar(s string) (c calendar, isCalendar bool, err error) {
	name, zone, zoned := strings.Cut(s, " in ")
	c, isCalendar = calendars[name]
	if !isCalendar {
		return calendar{}, false, nil
	}
	c.zone = time.UTC
	if zoned {
		if c.zone, err = time.LoadLocation(zone); err != nil || zone == "Local" || zone == "" {
			return calendar{}, true, fmt.Errorf("%.60q is no IANA time zone such as Europe/Berlin", zone)
		}
	}
	return c, true, nil
}

// begin is the instant, in milliseconds, at which the unit begins that is so many after the one at.
func (c calendar) begin(at int64, units int) int64 {
	local := time.UnixMilli(at).In(c.zone)
	year, month, day := local.Date()
	switch c.unit {
	case "day":
		day += units
	case "week":
		day += 7*units - (int(local.Weekday())+6)%7
	case "month":
		month, day = month+time.Month(units), 1
	default:
		year, month, day = year+units, 1, 1
	}
	return dayBegin(year, month, day, c.zone).UnixMilli()
}

// dayBegin is the first instant of a day, which is not midnight where clocks are put forward then.
func dayBegin(year int, month time.Month, day int, zone *time.Location) time.Time {
	wanted := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	begin := time.Date(year, month, day, 0, 0, 0, 0, zone)
	if local := begin.In(zone); local.Day() != wanted.Day() { // in the gap, and taken for the evening before
		_, begin = begin.ZoneBounds()
	}
	if earlier, _ := begin.ZoneBounds(); !earlier.IsZero() { // midnight may come twice
		twice := begin.Add(-time.Hour)
		if local := twice.In(zone); local.Day() == wanted.Day() && local.Hour() == 0 && local.Minute() == 0 {
			begin = twice
		}
	}
	return begin
}

// bounds are the instants after and until which the window holds events.
func (c calendar) bounds(at int64) (after, until int64) {
	if c.back == 0 {
		return c.begin(at, 0) - 1, at
	}
	return c.begin(at, -c.back) - 1, c.begin(at, 0) - 1
}
