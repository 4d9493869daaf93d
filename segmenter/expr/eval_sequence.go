package expr

import (
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// search finds the events of a sequence by trying every event for every step.
type search struct {
	sequence
	atMillis int64
	matching [][]*audience.Event // of each step, oldest first
	without  [][]*audience.Event // what must not happen before each step, then what must not after the last
	failed   map[attempt]bool
}

// attempt is to find the steps from one on after an instant.
type attempt struct {
	from  int
	after int64
}

func (v evaluation) search(s sequence) *search {
	f := &search{sequence: s, atMillis: v.atMillis, failed: map[attempt]bool{}}
	forbid := func(matches []eventMatch) {
		var events []*audience.Event
		for _, m := range matches {
			events = append(events, v.matching(m, s.window)...)
		}
		f.without = append(f.without, events)
	}
	for _, step := range s.steps {
		f.matching = append(f.matching, v.matching(step.eventMatch, s.window))
		forbid(step.without)
	}
	forbid(s.never)
	return f
}

// chain finds events for the steps from the given one on, after the instant of the step before, if any. It is nil when there are
// none.
func (f *search) chain(from int, before int64) []*audience.Event {
	this := attempt{from, before}
	if f.failed[this] {
		return nil
	}
	if from == len(f.steps) {
		if f.afterwards(before) {
			return []*audience.Event{}
		}
		return nil
	}
	within := f.steps[from].within
	for _, e := range slices.Backward(f.matching[from]) {
		millis := e.Time.UnixMilli()
		if from > 0 && (millis <= before || within > 0 && millis-before > within || f.broken(from, before, millis)) {
			continue
		}
		if rest := f.chain(from+1, millis); rest != nil {
			return append([]*audience.Event{e}, rest...)
		}
	}
	f.failed[this] = true
	return nil
}

// afterwards says whether what must not happen after the last step has not.
func (f *search) afterwards(last int64) bool {
	if f.wait == 0 {
		return !f.broken(len(f.steps), last, f.atMillis+1)
	}
	return last+f.wait <= f.atMillis && !f.broken(len(f.steps), last, last+f.wait)
}

// broken says whether something that must not happen before the step is later than the one instant and earlier than the other.
func (f *search) broken(step int, after, before int64) bool {
	return slices.ContainsFunc(f.without[step], func(e *audience.Event) bool {
		return e.Time.UnixMilli() > after && e.Time.UnixMilli() < before
	})
}
