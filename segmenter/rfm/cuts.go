package rfm

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// micros is how many of monetary's integers make one unit of the currency.
const micros = 1_000_000

// dimension is what the three differ in.
type dimension struct {
	unit       int64 // integers that make one unit of the data: the "+ 1" of RFMPackage is one day, one purchase, one unit of currency
	descending bool
}

// Ranks are the ranks (from 0) that the cut points of n users rest on. Ranks count in ascending order of (value, key); for recency
// under NTile, in descending order of value and then ascending order of key.
//
// Under Quantile and RFMPackage there are two for each inner quantile, its neighbours below and above: in ClickHouse
// quantilesExact at the levels (rank + 0.5) / n answers with exactly these values. Under NTile there is one for each tile but the
// first: where it starts.
func (c Config) Ranks(n int) []int {
	if n == 0 {
		return nil
	}
	var ranks []int
	for i := 1; i < c.bins(); i++ {
		if c.Convention != NTile {
			below := (n - 1) * i / c.bins()
			ranks = append(ranks, below, min(below+1, n-1))
			continue
		}
		// As SQL's ntile: the first n mod bins tiles hold one more than the others. Beyond n tiles there are none.
		if start := i*(n/c.bins()) + min(i, n%c.bins()); start < n {
			ranks = append(ranks, start)
		}
	}
	return ranks
}

// sortRanked sorts in the order in which Ranks counts.
func sortRanked(values []Bound, descending bool) {
	slices.SortFunc(values, func(a, b Bound) int {
		byValue := cmp.Compare(a.Value, b.Value)
		if descending {
			byValue = -byValue
		}
		return cmp.Or(byValue, cmp.Compare(a.Key, b.Key))
	})
}

// fit makes the scale from the values at c.Ranks(n).
func (d dimension) fit(c Config, n int, ranked []Bound) Scale {
	s := Scale{Descending: d.descending}
	if c.Convention == NTile {
		s.Bounds = slices.Clone(ranked)
		for _, b := range ranked {
			s.CutPoints = append(s.CutPoints, float64(b.Value)/float64(d.unit))
		}
		slices.Sort(s.CutPoints)
		return s
	}
	b := c.bins()
	for i := 1; i < b; i++ {
		q := between(ranked[2*i-2].Value, ranked[2*i-1].Value, uint64((n-1)*i%b), uint64(b))
		cut, first := q.float(), q.floor()+1 // the first integer strictly above the quantile
		if c.Convention == RFMPackage {
			cut, first = q.plus(d.unit).float(), q.plus(d.unit).ceil()
		}
		s.CutPoints = append(s.CutPoints, cut/float64(d.unit))
		s.Bounds = append(s.Bounds, d.bound(first))
	}
	return s
}

// fixed makes the scale from cut points in the unit of the data: as quantiles do, under Quantile a value must exceed the cut point,
// under RFMPackage reach it.
func (d dimension) fixed(cuts []float64, convention Convention) Scale {
	s := Scale{Descending: d.descending, CutPoints: slices.Clone(cuts)}
	for _, cut := range cuts {
		exact := cut * float64(d.unit)
		if d.unit != 1 {
			exact = math.Round(exact) // 9.99 is 9990000 micros, whatever binary fractions make of it
		}
		first := int64(math.Floor(exact)) + 1
		if convention == RFMPackage {
			first = int64(math.Ceil(exact))
		}
		s.Bounds = append(s.Bounds, d.bound(first))
	}
	return s
}

// bound turns the first value of the next bin, counted upwards, into the bound of the scale: a descending value earns the point as
// long as it stays below.
func (d dimension) bound(first int64) Bound {
	if d.descending {
		return Bound{Value: first - 1}
	}
	return Bound{Value: first}
}

// fraction is the exact number whole + part/of, 0 <= part < of.
type fraction struct {
	whole    int64
	part, of uint64
}

// between is low + (high-low) * part/of, exactly, for low <= high and part < of.
func between(low, high int64, part, of uint64) fraction {
	hi, lo := bits.Mul64(uint64(high)-uint64(low), part)
	quotient, rest := bits.Div64(hi, lo, of)
	return fraction{whole: low + int64(quotient), part: rest, of: of}
}

func (f fraction) plus(n int64) fraction { return fraction{f.whole + n, f.part, f.of} }
func (f fraction) floor() int64          { return f.whole }

func (f fraction) ceil() int64 {
	if f.part > 0 {
		return f.whole + 1
	}
	return f.whole
}

// float is the nearest float64, as long as whole*of is below 2^53: one exact division rounds once.
func (f fraction) float() float64 {
	return (float64(f.whole)*float64(f.of) + float64(f.part)) / float64(f.of)
}
