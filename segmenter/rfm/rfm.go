// Package rfm scores users by recency, frequency and monetary value.
//
// In come three whole numbers per user ([Values]); out goes a [Model]: stored cut points and a table of named segments, with which
// one user is scored alone, at once, or everybody is scored by a sum of comparisons in SQL, with the same answer to the bit.
// The package knows no clock, no store and no event; what a user is called matters to it only where [NTile] breaks ties.
//
// # Why whole numbers
//
// Days, counts and micros are integers, and so is everything the scores rest on. A quantile by linear interpolation (type 7 of
// Hyndman and Fan 1996) is a fraction of two integers, and "value > fraction" is "value >= smallest integer above it": each cut
// point becomes one integer bound, and no rounding can make Go and SQL disagree. The formula, for a [Scale] with bounds b:
//
//	score = 1 + Σ (value >= b)   frequency, monetary
//	score = 1 + Σ (value <= b)   recency (Descending: few days are good)
//
// and where a bound carries a Key (ntile only), equal values are told apart by the user id, compared as bytes:
//
//	score = 1 + Σ ((value, user_id) >= (b, key))
//	score = 1 + Σ ((-value, user_id) >= (-b, key))   Descending
package rfm

import (
	"errors"
	"fmt"
)

// ErrNoUsers says that nobody bought anything in the window, so there is nothing to cut into bins.
var ErrNoUsers = errors.New("no user has a purchase in the window: widen the window, move as_of, or give fixed cut points")

// Values are one user's three numbers, measured over a window that ends at as_of. Users without a purchase in the window have none.
type Values struct {
	RecencyDays    int64  `json:"recency_days"`    // whole days from the last purchase to as_of; >= 0
	Frequency      int64  `json:"frequency"`       // distinct orders, days or events; >= 1
	MonetaryMicros int64  `json:"monetary_micros"` // sum or mean of the values, 1e-6 of the currency unit; negative where refunds prevail
	Key            string `json:"key,omitempty"`   // the user id; breaks ties under NTile, else unused
}

// Score is a user's place on the three scales, 1 (worst) to bins (best), and the named segment these three give.
type Score struct {
	R       int    `json:"r"`
	F       int    `json:"f"`
	M       int    `json:"m"`
	Segment string `json:"segment"`
}

// Model is a fitted scorer: everything that scoring needs, nothing else. It is stored as JSON and safe for concurrent use.
type Model struct {
	Bins      int    `json:"bins"`
	Recency   Scale  `json:"recency"`
	Frequency Scale  `json:"frequency"`
	Monetary  Scale  `json:"monetary"`
	Rules     []Rule `json:"rules"` // on scores of 1 to Bins; the first that fits names the segment
}

// Score scores one user by the stored cut points.
func (m Model) Score(v Values) Score {
	s := Score{
		R: m.Recency.Score(v.RecencyDays, v.Key),
		F: m.Frequency.Score(v.Frequency, v.Key),
		M: m.Monetary.Score(v.MonetaryMicros, v.Key),
	}
	s.Segment = Segment(m.Rules, s.R, s.F, s.M)
	return s
}

// Scale scores one dimension by the bounds between its bins: bins-1 of them, fewer only under NTile with fewer users than bins.
type Scale struct {
	// CutPoints are for people: the cut points in days, purchases or currency units, ascending. Scoring does not read them.
	CutPoints []float64 `json:"cut_points"`
	// Descending says that small values are good (recency), so a value passes a bound from above.
	Descending bool    `json:"descending,omitempty"`
	Bounds     []Bound `json:"bounds"`
	// Quantiles say where a value stands among all users. Scoring does not read them; models of earlier versions have none.
	Quantiles Quantiles `json:"quantiles,omitzero"`
}

// Bound is the first place, in scoring order, that earns one point more.
type Bound struct {
	Value int64  `json:"value"`         // days, purchases or micros
	Key   string `json:"key,omitempty"` // of equal values, those from this key on pass; empty: all of them
}

// Score is 1 plus the number of bounds that the value passes; key is read only where a bound carries one.
func (s Scale) Score(value int64, key string) int {
	score := 1
	for _, b := range s.Bounds {
		if s.passes(value, key, b) {
			score++
		}
	}
	return score
}

func (s Scale) passes(value int64, key string, b Bound) bool {
	if value == b.Value {
		return key >= b.Key
	}
	return value > b.Value != s.Descending
}

// Fit cuts the values of all users into bins. Their order does not matter. It returns ErrNoUsers where there are none,
// unless every dimension has fixed cut points. Where all users are equal, so are their scores
// (by Quantile: recency the best, the others 1), but under NTile.
func (c Config) Fit(users []Values) (Model, error) {
	pick := func(descending bool, value func(Values) int64) []Bound {
		sorted := make([]Bound, len(users))
		for i, u := range users {
			sorted[i] = Bound{value(u), u.Key}
		}
		sortRanked(sorted, descending)
		picked := make([]Bound, 0, 2*c.bins())
		for _, rank := range c.Ranks(len(users)) {
			picked = append(picked, sorted[rank])
		}
		return picked
	}
	recency := func(v Values) int64 { return v.RecencyDays }
	frequency := func(v Values) int64 { return v.Frequency }
	monetary := func(v Values) int64 { return v.MonetaryMicros }
	m, err := c.FitRanks(len(users), pick(c.Convention == NTile, recency), pick(false, frequency), pick(false, monetary))
	if err != nil {
		return Model{}, err
	}
	m.Recency.Quantiles, m.Frequency.Quantiles, m.Monetary.Quantiles = quantilesOf(users, recency), quantilesOf(users, frequency), quantilesOf(users, monetary)
	return m, nil
}

// FitRanks is Fit for values that stay where they are, such as in a database: of n users it is given, for each dimension, only the
// values at Ranks(n). Keys are needed by NTile only. The model has no Quantiles: see NewQuantiles.
func (c Config) FitRanks(n int, recency, frequency, monetary []Bound) (Model, error) {
	if err := c.Validate(); err != nil {
		return Model{}, err
	}
	if n == 0 && !c.allFixed() {
		return Model{}, ErrNoUsers
	}
	m := Model{Bins: c.bins(), Rules: c.rules()}
	for _, dim := range []struct {
		name   string
		scale  *Scale
		fixed  []float64
		ranked []Bound
		kind   dimension
	}{
		{"recency", &m.Recency, c.CutPoints.Recency, recency, dimension{unit: 1, descending: true}},
		{"frequency", &m.Frequency, c.CutPoints.Frequency, frequency, dimension{unit: 1}},
		{"monetary", &m.Monetary, c.CutPoints.Monetary, monetary, dimension{unit: micros}},
	} {
		if dim.fixed != nil {
			*dim.scale = dim.kind.fixed(dim.fixed, c.Convention)
			continue
		}
		if want := len(c.Ranks(n)); len(dim.ranked) != want {
			return Model{}, fmt.Errorf("fit %s: %d ranked values given, %d wanted for %d users", dim.name, len(dim.ranked), want, n)
		}
		*dim.scale = dim.kind.fit(c, n, dim.ranked)
	}
	return m, nil
}
