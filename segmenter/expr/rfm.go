package expr

import (
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// RFM is what a user's events are scored by at the time of evaluation: how an RFM model measures, and the bounds its training has found.
type RFM struct {
	PurchaseTypes []string // event types whose values count as bought; what is negative among them is a refund
	RefundTypes   []string // event types whose negative values are refunds
	Config        rfm.Config
	Model         rfm.Model
}

// quantiles are the distribution of a field by which users are ranked.
func (r *RFM) quantiles(name string) rfm.Quantiles {
	switch name {
	case "recency_days":
		return r.Model.Recency.Quantiles
	case "frequency":
		return r.Model.Frequency.Quantiles
	default:
		return r.Model.Monetary.Quantiles
	}
}

// percentiles say, by field, where a user with a score stands among those the model was trained on.
func (r *RFM) percentiles(s audience.Score) map[string]float64 {
	percentiles := map[string]float64{}
	for name, value := range map[string]int64{"recency_days": int64(s.RecencyDays), "frequency": int64(s.Frequency), "monetary": s.MonetaryMicros} {
		if share, known := r.quantiles(name).Percentile(value); known && s.R > 0 {
			percentiles[name] = share
		}
	}
	return percentiles
}

// window is how far back purchases count.
func (r *RFM) window() window { return window{lengthMillis: int64(r.Config.WindowDays) * dayMillis} }

// score measures and scores a user's events; the zero score is none.
func (r *RFM) score(user audience.UserID, events []audience.Event, at time.Time) audience.Score {
	var purchases []rfm.Purchase
	for _, e := range events {
		if slices.Contains(r.PurchaseTypes, e.Type) || slices.Contains(r.RefundTypes, e.Type) && e.ValueMicros < 0 {
			purchases = append(purchases, rfm.Purchase{Time: e.Time, OrderID: e.Texts["order_id"], ValueMicros: e.ValueMicros})
		}
	}
	v, measured := r.Config.Measure(purchases, at)
	if !measured {
		return audience.Score{}
	}
	v.Key = string(user)
	s := r.Model.Score(v)
	return audience.Score{
		User: user, R: uint8(s.R), F: uint8(s.F), M: uint8(s.M), Segment: s.Segment,
		RecencyDays: int32(v.RecencyDays), Frequency: uint32(v.Frequency), MonetaryMicros: v.MonetaryMicros,
	}
}
