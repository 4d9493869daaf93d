package expr

import (
	"cmp"
	"math"
	"math/big"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// matching are the user's events that match, within the window, oldest first.
func (v evaluation) matching(m eventMatch, w window) (events []*audience.Event) {
	after, until := w.bounds(v.atMillis)
	for i := range v.history.Events {
		e := &v.history.Events[i]
		millis := e.Time.UnixMilli()
		if e.Type == m.event && millis > after && millis <= until && (m.where == nil || (evaluation{v.history, v.atMillis, e}).holds(m.where)) {
			events = append(events, e)
		}
	}
	slices.SortFunc(events, func(a, b *audience.Event) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return events
}

// aggregate summarises the events that count.
func (v evaluation) aggregate(a aggregate) fact {
	events := v.matching(a.eventMatch, a.window)
	if a.of != nil {
		return v.summary(a, events)
	}
	n := len(events)
	if a.function == count {
		return numeric(float64(n))
	}
	if a.function == sum {
		var micros int64
		for _, e := range events {
			micros += e.ValueMicros
		}
		return numeric(float64(micros) / 1e6)
	}
	if n == 0 {
		return nothing
	}
	oldest, newest := events[0].Time.UnixMilli(), events[n-1].Time.UnixMilli()
	switch a.function {
	case first:
		return numeric(float64(oldest))
	case last:
		return numeric(float64(newest))
	default:
		return numeric(float64((v.atMillis - newest) / dayMillis))
	}
}

// summary is an aggregate of something that some of the events have.
func (v evaluation) summary(a aggregate, events []*audience.Event) fact {
	var facts []fact
	for _, e := range events {
		if f := (evaluation{v.history, v.atMillis, e}).ofEither(a.of); !f.missing {
			facts = append(facts, f)
		}
	}
	n := len(facts)
	switch {
	case a.function == countDistinct:
		distinct := map[fact]bool{}
		for _, f := range facts {
			distinct[f] = true
		}
		return numeric(float64(len(distinct)))
	case a.function == sum:
		return numeric(millionths(facts) / 1e6)
	case n == 0:
		return nothing
	}
	smaller := func(a, b fact) int { return cmp.Compare(a.number, b.number) }
	switch a.function {
	case average:
		return numeric(millionths(facts) / 1e6 / float64(n))
	case minimum:
		return slices.MinFunc(facts, smaller)
	case maximum:
		return slices.MaxFunc(facts, smaller)
	case firstValue:
		return facts[0]
	default:
		return facts[n-1]
	}
}

// ofEither finds a value; one of unknown kind is a text or a number.
func (v evaluation) ofEither(val value) fact {
	f, isField := val.(field)
	if !isField || f.of != unknown {
		return v.of(val)
	}
	f.of = text
	if asText := v.of(f); !asText.missing {
		return asText
	}
	f.of = number
	return v.of(f)
}

// millionths adds up numbers, each rounded to whole millionths.
func millionths(facts []fact) float64 {
	total := new(big.Int)
	for _, f := range facts {
		rounded, _ := big.NewFloat(math.RoundToEven(min(max(f.number*1e6, -maxSummand), maxSummand))).Int(nil)
		total.Add(total, rounded)
	}
	sum, _ := new(big.Float).SetInt(total).Float64()
	return sum
}
