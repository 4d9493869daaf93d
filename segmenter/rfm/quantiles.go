package rfm

import "slices"

// permille is how finely the distribution of a value is kept.
const permille = 1000

// Quantiles are the distribution of a value among the users a model was trained on: in whole numbers, so that Go and SQL agree.
type Quantiles struct {
	Values []int64 `json:"values"` // ascending, each once
	Shares []int   `json:"shares"` // beside each, how many thousandths of the users have that much or less, rounded down
}

// QuantileRanks are the ranks (from 0, ascending) of the values that the Quantiles of n users rest on.
func QuantileRanks(n int) []int {
	var ranks []int
	for k := 1; k <= permille; k++ {
		rank := (k*n+permille-1)/permille - 1
		if rank >= 0 && (len(ranks) == 0 || rank > ranks[len(ranks)-1]) {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// NewQuantiles are those of n users, given the values at QuantileRanks(n).
func NewQuantiles(n int, values []int64) Quantiles {
	var q Quantiles
	for i, rank := range QuantileRanks(n) {
		share := (rank + 1) * permille / n
		if last := len(q.Values) - 1; last >= 0 && q.Values[last] == values[i] {
			q.Shares[last] = share
			continue
		}
		q.Values, q.Shares = append(q.Values, values[i]), append(q.Shares, share)
	}
	return q
}

// quantilesOf are those of a value of users.
func quantilesOf(users []Values, value func(Values) int64) Quantiles {
	sorted := make([]int64, len(users))
	for i, u := range users {
		sorted[i] = value(u)
	}
	slices.Sort(sorted)
	var ranked []int64
	for _, rank := range QuantileRanks(len(users)) {
		ranked = append(ranked, sorted[rank])
	}
	return NewQuantiles(len(users), ranked)
}

// Percentile is the share of the users, from 0 to 1 and rounded down to the thousandth, who have the value or less. Without
// any user it is not known.
func (q Quantiles) Percentile(value int64) (share float64, known bool) {
	at, found := slices.BinarySearch(q.Values, value)
	if !found {
		at--
	}
	if at < 0 {
		return 0, len(q.Values) > 0
	}
	return float64(q.Shares[at]) / permille, true
}
