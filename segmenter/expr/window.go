package expr

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// window is how far back from the time of evaluation events count: (at - length, at], or days of the calendar. The zero window is all history.
type window struct {
	lengthMillis int64
	calendar     calendar
}

// all reports whether the window has no beginning.
func (w window) all() bool { return w.lengthMillis == 0 && w.calendar.unit == "" }

// bounds says which events the window holds at an instant, in milliseconds: those after the one bound up to the other.
func (w window) bounds(at int64) (after, until int64) {
	switch {
	case w.all():
		return math.MinInt64, at
	case w.calendar.unit != "":
		return w.calendar.bounds(at)
	}
	return at - w.lengthMillis, at
}

const (
	secondMillis = int64(time.Second / time.Millisecond)
	dayMillis    = 24 * 60 * 60 * secondMillis

	maxWindowYears  = 100
	maxWindowMillis = maxWindowYears * 365 * dayMillis
)

var unitMillis = map[byte]int64{'s': secondMillis, 'm': 60 * secondMillis, 'h': 3600 * secondMillis, 'd': dayMillis, 'w': 7 * dayMillis}

// parseWindow reads a length or days of the calendar; "" and "all" are all history.
func parseWindow(s string) (window, error) {
	if s == "" || s == "all" {
		return window{}, nil
	}
	if c, isCalendar, err := parseCalendar(s); isCalendar {
		return window{calendar: c}, err
	}
	length, err := parseLength(s)
	return window{lengthMillis: length}, err
}

// parseLength reads "30d", "12h", "90m", "45s" or "2w".
func parseLength(s string) (int64, error) {
	if s == "" {
		return 0, errors.New("a length of time is missing")
	}
	if len(s) > 20 {
		return 0, fmt.Errorf("%.20q… is not a window", s)
	}
	unit, known := unitMillis[s[len(s)-1]]
	digits := s[:len(s)-1]
	if !known || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a window", s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n > maxWindowMillis/unit:
		return 0, fmt.Errorf("a window of %s is longer than %d years", s, maxWindowYears)
	case n == 0:
		return 0, fmt.Errorf("a window of %s holds no event", s)
	}
	return n * unit, nil
}

const windowHint = `a window is a whole number and s, m, h, d or w: "30d", "12h"; or "today", "this month in Europe/Berlin"; "all" is all history`

// parseSpan reads the text of duration(...): Go's form "1h30m" or a window's "30d".
func parseSpan(s string) (float64, error) {
	if length, err := parseLength(s); err == nil {
		return float64(length), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || len(s) > 60 {
		return 0, fmt.Errorf("%.60q is not a duration", s)
	}
	if d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q is finer than a millisecond", s)
	}
	return float64(d.Milliseconds()), nil
}

// parseMoment reads the text of timestamp(...): RFC 3339.
func parseMoment(s string) (float64, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || len(s) > 60 {
		return 0, fmt.Errorf("%.60q is not a time", s)
	}
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return 0, fmt.Errorf("%q is finer than a millisecond", s)
	}
	return float64(t.UnixMilli()), nil
}
