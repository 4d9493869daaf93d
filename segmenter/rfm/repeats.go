package rfm

import "time"

// Repeats sums up one user's purchases the way that buy-till-you-die models take them (Fader, Hardie and Lee 2005): all purchases
// of one day in loc count as one, and the first day is the beginning, not a repeat.
type Repeats struct {
	Frequency int64   // x: days with a purchase, after the first
	Recency   float64 // t_x: weeks from the first to the last of all purchase days; 0 without a repeat
	Age       float64 // T: weeks from the first purchase day to as_of
	Mean      float64 // value of a repeat day in currency units, on average; 0 without a repeat
}

// RepeatsOf counts the purchases until the end of asOf's day in loc; false if there are none. Refunds reduce the value of their day
// where it has a purchase too.
func RepeatsOf(purchases []Purchase, asOf time.Time, loc *time.Location) (Repeats, bool) {
	end := civilDay(asOf, loc)
	first, last := end+1, end
	days := map[int64]bool{}
	for _, p := range purchases {
		day := civilDay(p.Time, loc)
		if day > end || p.ValueMicros < 0 {
			continue
		}
		if len(days) == 0 {
			last = day
		}
		days[day] = true
		first, last = min(first, day), max(last, day)
	}
	if len(days) == 0 {
		return Repeats{}, false
	}
	r := Repeats{
		Frequency: int64(len(days)) - 1,
		Recency:   float64(last-first) / 7,
		Age:       float64(end-first) / 7,
	}
	if r.Frequency == 0 {
		return r, true
	}
	var repeated int64
	for _, p := range purchases {
		if day := civilDay(p.Time, loc); day != first && days[day] {
			repeated += p.ValueMicros
		}
	}
	r.Mean = float64(repeated) / micros / float64(r.Frequency)
	return r, true
}
