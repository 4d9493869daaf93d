package expr

import (
	"time"

	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// aHistory is a random user as of a time: nothing at all, or events around the borders of windows, before 1970's first second and after now.
func aHistory(t *rapid.T, at time.Time) (h History) {
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		e := audience.Event{
			Type:        rapid.SampledFrom(eventTypes).Draw(t, "type"),
			Time:        aTime(t, at),
			ValueMicros: rapid.SampledFrom(micros).Draw(t, "micros"),
		}
		e.Texts, e.Numbers = properties(t)
		h.Events = append(h.Events, e)
	}
	h.Profile.Country = rapid.SampledFrom(countries).Draw(t, "country")
	h.Profile.Texts, h.Profile.Numbers = properties(t)
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
		w, _ := parseWindow(rapid.SampledFrom(windows[:len(windows)-1]).Draw(t, "window"))
		return at.Add(shift - time.Duration(w.lengthMillis)*time.Millisecond)
	case 2:
		return at.Add(-time.Duration(rapid.Int64Range(0, 100*dayMillis).Draw(t, "ago")) * time.Millisecond)
	default:
		return rapid.SampledFrom([]time.Time{audience.EarliestEvent, at.Add(time.Hour), at.AddDate(1, 0, 0)}).Draw(t, "far")
	}
}

// properties are texts and numbers under the same few keys, each key in one of them at most.
func properties(t *rapid.T) (map[string]string, map[string]float64) {
	asText, asNumber := map[string]string{}, map[string]float64{}
	for _, key := range keys {
		switch rapid.IntRange(0, 3).Draw(t, "property") {
		case 1:
			asNumber[key] = rapid.SampledFrom(numbers).Draw(t, "number")
		case 2, 3:
			asText[key] = rapid.SampledFrom(texts).Draw(t, "text")
		}
	}
	return asText, asNumber
}

// aModel is a random trained RFM model, or none.
func aModel(t *rapid.T) *RFM {
	if rapid.IntRange(0, 9).Draw(t, "untrained") == 0 {
		return nil
	}
	bounds := func(of ...int64) (bounds []rfm.Bound) {
		for range rapid.IntRange(0, 3).Draw(t, "bounds") {
			b := rfm.Bound{Value: rapid.SampledFrom(of).Draw(t, "bound")}
			if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
				b.Key = "user-000100"
			}
			bounds = append(bounds, b)
		}
		return bounds
	}
	config := rfm.Config{
		Frequency:  rapid.SampledFrom([]rfm.FrequencyBy{"", rfm.Days, rfm.Events}).Draw(t, "frequency"),
		Monetary:   rapid.SampledFrom([]rfm.MonetaryBy{"", rfm.Mean}).Draw(t, "monetary"),
		Refunds:    rapid.SampledFrom([]rfm.Refunds{"", rfm.Ignore}).Draw(t, "refunds"),
		Recency:    rapid.SampledFrom([]rfm.RecencyBy{"", rfm.Elapsed}).Draw(t, "recency"),
		WindowDays: rapid.SampledFrom([]int{0, 0, 1, 90}).Draw(t, "window days"),
		TimeZone:   rapid.SampledFrom(zones).Draw(t, "zone"),
	}
	return &RFM{
		PurchaseTypes: []string{"purchase"}, RefundTypes: []string{"refund", "visit"}, Config: config,
		Model: rfm.Model{
			Bins:      4,
			Recency:   rfm.Scale{Descending: true, Bounds: bounds(0, 1, 2, 30, 5000)},
			Frequency: rfm.Scale{Bounds: bounds(1, 2, 3)},
			Monetary:  rfm.Scale{Bounds: bounds(-1_000_000, 0, 1, 2_500_000)},
			Rules:     rapid.SampledFrom([][]rfm.Rule{nil, {{Segment: "champions", Recency: rfm.Range{3, 4}}, {Segment: "at_risk", Frequency: rfm.Range{1, 2}, Monetary: rfm.Range{2, 4}}}}).Draw(t, "rules"),
		},
	}
}

// distances are lengths of time after which answers change, and a few others.
func distances(t *rapid.T) []time.Duration {
	distances := []time.Duration{24 * time.Hour, 48 * time.Hour, 31 * 24 * time.Hour, 720 * time.Hour, time.Hour, 10 * time.Second,
		3 * time.Hour, 5 * time.Hour, 18*time.Hour + 15*time.Minute, 29 * time.Hour}
	for _, source := range windows[:len(windows)-1] {
		w, _ := parseWindow(source)
		distances = append(distances, time.Duration(w.lengthMillis)*time.Millisecond)
	}
	for range 5 {
		distances = append(distances, time.Duration(rapid.Int64Range(0, 50*dayMillis).Draw(t, "distance"))*time.Millisecond)
	}
	return distances
}
