package expr

import (
	"math"
	"slices"
	"time"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// purchases is what is read for RFM scores, and how.
type purchases struct {
	*RFM
	zone    *time.Location
	refunds bool // something reads what refunds change
}

// countsOrders says whether frequency is the number of orders.
func (p *purchases) countsOrders() bool {
	return p.Config.Frequency != rfm.Days && p.Config.Frequency != rfm.Events
}

// purchases are those of the model that rfm.r and its like read; nil as long as it is not trained.
func (m *machine) purchases() *purchases {
	if model := m.program.scores[rfmModel].RFM; m.rfm == nil && model != nil {
		zone, err := model.Config.Location()
		if err != nil {
			zone = time.UTC // a model's zone was checked before it was trained
		}
		m.rfm = &purchases{RFM: model, zone: zone}
	}
	return m.rfm
}

// rfmNumber makes a function of rfm.r and its like.
func (m *machine) rfmNumber(f field) figure {
	p := m.purchases()
	if p == nil {
		return func(*state) float64 { return math.NaN() }
	}
	p.refunds = p.refunds || f.name == "m" || f.name == "monetary"
	read := map[string]func(*bought) float64{
		"r":            func(b *bought) float64 { return float64(b.score.R) },
		"f":            func(b *bought) float64 { return float64(b.score.F) },
		"m":            func(b *bought) float64 { return float64(b.score.M) },
		"recency_days": func(b *bought) float64 { return float64(b.values.RecencyDays) },
		"frequency":    func(b *bought) float64 { return float64(b.values.Frequency) },
		"monetary":     func(b *bought) float64 { return float64(b.values.MonetaryMicros) / 1e6 },
	}[f.name]
	if f.percentile {
		read = percentile(p.quantiles(f.name), f.name)
	}
	return func(s *state) float64 {
		if s.bought.events == 0 {
			return math.NaN()
		}
		return read(&s.bought)
	}
}

// percentile makes a function of where a user stands by a field.
func percentile(q rfm.Quantiles, name string) func(*bought) float64 {
	value := map[string]func(*bought) int64{
		"recency_days": func(b *bought) int64 { return b.values.RecencyDays },
		"frequency":    func(b *bought) int64 { return b.values.Frequency },
		"monetary":     func(b *bought) int64 { return b.values.MonetaryMicros },
	}[name]
	return func(b *bought) float64 {
		if share, known := q.Percentile(value(b)); known {
			return share
		}
		return math.NaN()
	}
}

func (m *machine) rfmSegment() wording {
	p := m.purchases()
	if p == nil {
		return func(*state) (string, bool) { return "", false }
	}
	p.refunds = p.refunds || len(p.Model.Rules) > 0
	return func(s *state) (string, bool) { return s.bought.score.Segment, s.bought.events > 0 }
}

// hasBought makes a function that says whether the user has a purchase, and with it an RFM score.
func (m *machine) hasBought() test {
	if m.purchases() == nil {
		return func(*state) bool { return false }
	}
	return func(s *state) bool { return s.bought.events > 0 }
}

// foldPurchases has purchases and refunds counted.
func (m *machine) foldPurchases() {
	p := m.rfm
	if p == nil {
		return
	}
	for _, event := range sortedSet(slices.Clone(p.PurchaseTypes)) {
		m.fold(eventMatch{event: event}, p.window(), func(s *state) {
			if s.event.ValueMicros >= 0 {
				s.bought.purchase(p, s)
			} else if p.Config.Refunds != rfm.Ignore {
				s.bought.sum += s.event.ValueMicros
			}
		})
	}
	if !p.refunds || p.Config.Refunds == rfm.Ignore {
		return
	}
	for _, event := range sortedSet(slices.Clone(p.RefundTypes)) {
		if slices.Contains(p.PurchaseTypes, event) {
			continue
		}
		m.fold(eventMatch{event: event}, p.window(), func(s *state) {
			if s.event.ValueMicros < 0 {
				s.bought.sum += s.event.ValueMicros
			}
		})
	}
}

// bought is what a user has bought: rfm.Config.Measure, one event after the other.
type bought struct {
	last, sum, events int64
	distinct          map[uint64]struct{} // orders or days
	values            rfm.Values
	score             rfm.Score
}

func (b *bought) reset() {
	known := b.distinct
	clear(known)
	*b = bought{distinct: known}
}

func (b *bought) purchase(p *purchases, s *state) {
	if b.distinct == nil {
		b.distinct = map[uint64]struct{}{}
	}
	b.last = max(b.last, s.event.Millis)
	b.sum += s.event.ValueMicros
	b.events++
	switch {
	case p.countsOrders():
		b.distinct[s.event.Order] = struct{}{}
	case p.Config.Frequency == rfm.Days:
		year, month, day := time.UnixMilli(s.event.Millis).In(p.zone).Date()
		b.distinct[uint64(year)<<16|uint64(month)<<8|uint64(day)] = struct{}{}
	}
}

// conclude measures and scores, once all events are taken in.
func (b *bought) conclude(p *purchases, s *state) {
	if b.events == 0 {
		return
	}
	b.values = rfm.Values{
		RecencyDays: rfm.RecencyDays(time.UnixMilli(b.last), time.UnixMilli(s.at), p.zone, p.Config.Recency),
		Frequency:   int64(len(b.distinct)), MonetaryMicros: b.sum, Key: string(s.User),
	}
	if p.Config.Frequency == rfm.Events {
		b.values.Frequency = b.events
	}
	if p.Config.Monetary == rfm.Mean {
		b.values.MonetaryMicros /= b.values.Frequency
	}
	b.score = p.Model.Score(b.values)
}
