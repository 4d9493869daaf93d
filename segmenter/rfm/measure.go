package rfm

import (
	"errors"
	"fmt"
	"time"
)

// Purchase is one purchase or refund of a user.
type Purchase struct {
	Time        time.Time
	OrderID     string // empty: an order of its own
	ValueMicros int64  // negative: a refund
}

// Measure is the definition of the three numbers, for one user, in any order of purchases: what the database computes for everybody
// must equal it. It returns false where the user has no purchase in the window. The config must be valid.
func (c Config) Measure(purchases []Purchase, asOf time.Time) (Values, bool) {
	loc, err := c.Location()
	if err != nil {
		return Values{}, false
	}
	var (
		last   time.Time
		sum    int64
		events int64
		orders = map[string]bool{}
		days   = map[int64]bool{}
	)
	from := c.WindowStart(asOf)
	for _, p := range purchases {
		if p.Time.After(asOf) || !p.Time.After(from) {
			continue
		}
		if p.ValueMicros < 0 {
			if c.Refunds != Ignore {
				sum += p.ValueMicros
			}
			continue
		}
		sum += p.ValueMicros
		events++
		days[civilDay(p.Time, loc)] = true
		if p.OrderID == "" {
			orders[fmt.Sprintf("\x00%d", events)] = true
		} else {
			orders[p.OrderID] = true
		}
		if p.Time.After(last) {
			last = p.Time
		}
	}
	if events == 0 {
		return Values{}, false
	}
	v := Values{RecencyDays: RecencyDays(last, asOf, loc, c.Recency), MonetaryMicros: sum}
	switch c.Frequency {
	case Days:
		v.Frequency = int64(len(days))
	case Events:
		v.Frequency = events
	default:
		v.Frequency = int64(len(orders))
	}
	if c.Monetary == Mean {
		v.MonetaryMicros /= v.Frequency
	}
	return v, true
}

// RecencyDays is whole days from last to asOf: by midnights passed in loc (Calendar, the default) or by full 24 hours (Elapsed).
// It is 0 where last is after asOf.
func RecencyDays(last, asOf time.Time, loc *time.Location, by RecencyBy) int64 {
	if by == Elapsed {
		return max(0, int64(asOf.Sub(last)/(24*time.Hour)))
	}
	return max(0, civilDay(asOf, loc)-civilDay(last, loc))
}

// civilDay numbers the days of the calendar in loc, whatever their length.
func civilDay(t time.Time, loc *time.Location) int64 {
	year, month, day := t.In(loc).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// Location is the time zone in which days begin.
func (c Config) Location() (*time.Location, error) {
	loc, err := time.LoadLocation(c.TimeZone) // "" is UTC
	if c.TimeZone == "Local" {                // Go's name for whatever this machine is set to; no database knows it
		err = errors.New("no name of a time zone")
	}
	if err != nil {
		return nil, fmt.Errorf("time_zone %q: %w", c.TimeZone, err)
	}
	return loc, nil
}

// WindowStart is the moment after which purchases count: WindowDays of 24 hours before asOf, or the zero time for all history.
func (c Config) WindowStart(asOf time.Time) time.Time {
	if c.WindowDays == 0 {
		return time.Time{}
	}
	return asOf.Add(-time.Duration(c.WindowDays) * 24 * time.Hour)
}
