// Package exprtest makes up random expressions of the whole language, and facts of users for them to meet, for the tests of whatever
// evaluates them. It writes texts and plain values only, so that the language's own tests can use it, too; a test there fails when the
// language has something that is never drawn.
package exprtest

import (
	"math/rand/v2"
	"slices"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// Draw is where choices come from: one of n, from 0.
type Draw func(n int) int

// Drawing draws from a source of randomness.
func Drawing(random *rand.Rand) Draw { return random.IntN }

// Pick is one of the options.
func Pick[T any](draw Draw, options []T) T { return options[draw(len(options))] }

// Vocabulary is what expressions and facts are made of. It is small, so that they meet.
type Vocabulary struct {
	EventTypes []string
	Keys       []string // of properties and attributes
	Texts      []string
	Numbers    []float64
	Countries  []string
	Lengths    []string // of time, as windows have them
	Zones      []string // of time, as IANA names them
	Clusters   []string // ids of k-means models
}

// Properties are texts and numbers, each key in one of them at most.
func (v Vocabulary) Properties(draw Draw) (texts map[string]string, numbers map[string]float64) {
	texts, numbers = map[string]string{}, map[string]float64{}
	for _, key := range v.Keys {
		switch draw(4) {
		case 0:
		case 1:
			numbers[key] = Pick(draw, v.Numbers)
		default:
			texts[key] = Pick(draw, v.Texts)
		}
	}
	return texts, numbers
}

// RFM is a way to measure, and what a training might have found.
func (v Vocabulary) RFM(draw Draw) (rfm.Config, rfm.Model) {
	bounds := func(of ...int64) (bounds []rfm.Bound) {
		for range draw(4) {
			b := rfm.Bound{Value: Pick(draw, of)}
			if draw(4) == 0 {
				b.Key = "user-000100"
			}
			bounds = append(bounds, b)
		}
		return bounds
	}
	config := rfm.Config{
		Frequency:  Pick(draw, []rfm.FrequencyBy{"", rfm.Days, rfm.Events}),
		Monetary:   Pick(draw, []rfm.MonetaryBy{"", rfm.Mean}),
		Refunds:    Pick(draw, []rfm.Refunds{"", rfm.Ignore}),
		Recency:    Pick(draw, []rfm.RecencyBy{"", rfm.Elapsed}),
		WindowDays: Pick(draw, []int{0, 0, 1, 90}),
		TimeZone:   Pick(draw, append([]string{""}, v.Zones...)),
	}
	scale := func(of ...int64) rfm.Scale {
		values := make([]int64, draw(5)) // of none, no distribution is known
		for i := range values {
			values[i] = Pick(draw, of)
		}
		slices.Sort(values)
		return rfm.Scale{Bounds: bounds(of...), Quantiles: rfm.NewQuantiles(len(values), values)}
	}
	recency := scale(0, 1, 2, 30, 5000)
	recency.Descending = true
	return config, rfm.Model{
		Bins: 4, Recency: recency, Frequency: scale(1, 2, 3), Monetary: scale(-1_000_000, 0, 1, 2_500_000),
		Rules: Pick(draw, [][]rfm.Rule{nil, {
			{Segment: "champions", Recency: rfm.Range{3, 4}},
			{Segment: "at_risk", Frequency: rfm.Range{1, 2}, Monetary: rfm.Range{2, 4}},
		}}),
	}
}
