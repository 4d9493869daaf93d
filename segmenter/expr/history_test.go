package expr

import (
	"time"

	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

// aHistory is a random user as of a time: nothing at all, or events around the borders of windows, before 1970's first second and after now.
func aHistory(t *rapid.T, at time.Time) (h History) {
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		e := audience.Event{
			Type:        rapid.SampledFrom(vocabulary.EventTypes).Draw(t, "type"),
			Time:        aTime(t, at),
			ValueMicros: rapid.SampledFrom(micros).Draw(t, "micros"),
		}
		e.Texts, e.Numbers = vocabulary.Properties(drawing(t))
		h.Events = append(h.Events, e)
	}
	h.Profile.Country = rapid.SampledFrom(vocabulary.Countries).Draw(t, "country")
	h.Profile.Texts, h.Profile.Numbers = vocabulary.Properties(drawing(t))
	for segment := range audience.Number(3) {
		if rapid.IntRange(0, 9).Draw(t, "pinned") == 0 {
			h.Pins = append(h.Pins, audience.Pin{
				Segment: 1 + 2*segment, Held: rapid.SampledFrom([]audience.Held{audience.HeldIn, audience.HeldOut, audience.Released}).Draw(t, "held"),
				Expires: rapid.SampledFrom([]time.Time{{}, {}, at, at.Add(time.Millisecond), at.Add(time.Hour)}).Draw(t, "expires"),
				Version: rapid.Uint64Range(1, 9).Draw(t, "version"),
			})
		}
	}
	h.Scores = map[audience.ModelID]audience.Score{}
	if rapid.Bool().Draw(t, "clustered") {
		h.Scores["habits"] = audience.Score{Label: uint16(rapid.IntRange(0, 3).Draw(t, "label"))}
	}
	return h
}

func aTime(t *rapid.T, at time.Time) time.Time {
	shift := time.Duration(rapid.IntRange(-1, 1).Draw(t, "ms")) * time.Millisecond
	switch rapid.IntRange(0, 3).Draw(t, "when") {
	case 0:
		return at.Add(shift)
	case 1:
		w, _ := parseWindow(rapid.SampledFrom(vocabulary.Lengths[:len(vocabulary.Lengths)-1]).Draw(t, "window"))
		return at.Add(shift - time.Duration(w.lengthMillis)*time.Millisecond)
	case 2:
		return at.Add(-time.Duration(rapid.Int64Range(0, 100*dayMillis).Draw(t, "ago")) * time.Millisecond)
	default:
		return rapid.SampledFrom([]time.Time{audience.EarliestEvent, at.Add(time.Hour), at.AddDate(1, 0, 0)}).Draw(t, "far")
	}
}

// aModel is a random trained RFM model, or none.
func aModel(t *rapid.T) *RFM {
	if rapid.IntRange(0, 9).Draw(t, "untrained") == 0 {
		return nil
	}
	config, model := vocabulary.RFM(drawing(t))
	return &RFM{PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund", "visit"}, Config: config, Model: model}
}

// distances are lengths of time after which answers change, and a few others.
func distances(t *rapid.T) []time.Duration {
	distances := []time.Duration{24 * time.Hour, 48 * time.Hour, 31 * 24 * time.Hour, 720 * time.Hour, time.Hour, 10 * time.Second,
		3 * time.Hour, 5 * time.Hour, 18*time.Hour + 15*time.Minute, 29 * time.Hour}
	for _, source := range vocabulary.Lengths[:len(vocabulary.Lengths)-1] {
		w, _ := parseWindow(source)
		distances = append(distances, time.Duration(w.lengthMillis)*time.Millisecond)
	}
	for range 5 {
		distances = append(distances, time.Duration(rapid.Int64Range(0, 50*dayMillis).Draw(t, "distance"))*time.Millisecond)
	}
	return distances
}
