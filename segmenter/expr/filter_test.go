package expr

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestFilter(t *testing.T) {
	numbers := map[audience.SegmentID]audience.Number{"vip": 1, "recent-buyers": 2, "lapsed": 3}
	numberOf := func(id audience.SegmentID) (audience.Number, bool) {
		n, known := numbers[id]
		return n, known
	}
	for source, matching := range map[string][][]audience.Number{
		"vip":                                   {{1}, {1, 2}, {1, 3}, {1, 2, 3}},
		`vip && !in_segment("recent-buyers")`:   {{1}, {1, 3}},
		`(vip || lapsed) && !(vip && lapsed)`:   {{1}, {1, 2}, {3}, {2, 3}},
		`!vip && !lapsed && !in_segment("vip")`: {nil, {2}},
	} {
		test, err := Filter(source, numberOf)
		require.NoError(t, err, source)
		var got [][]audience.Number
		for _, in := range [][]audience.Number{nil, {1}, {1, 2}, {1, 3}, {1, 2, 3}, {2}, {3}, {2, 3}} {
			if test(in) {
				got = append(got, in)
			}
		}
		require.ElementsMatch(t, matching, got, source)
	}
	for source, message := range map[string]string{
		"":                          "",
		"nobody":                    `there is no segment "nobody"`,
		"recent-buyers":             "joins segments by &&",
		`vip == lapsed`:             "joins segments by &&",
		`count("purchase") > 3`:     "joins segments by &&",
		`"vip"`:                     "joins segments by &&",
		`in_segment("vip", "more")`: "joins segments by &&",
		`vip &&`:                    "",
	} {
		_, err := Filter(source, numberOf)
		var fault *Error
		require.ErrorAs(t, err, &fault, source)
		require.ErrorContains(t, err, message, source)
	}
}
