package segmenter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestTimeAloneMovesMembership(t *testing.T) {
	h := newLiveHouse(t, audience.Segment{Expression: `did("visit", "7d")`}, audience.Segment{Expression: `count("visit", "30d") >= 1`})
	h.ingest(t, visit("a", "1", noon), visit("b", "1", noon.Add(time.Hour)))
	h.settle(t)
	require.Equal(t, []audience.Number{1, 2}, h.segmentsOf(t, "a"))
	require.Empty(t, h.segmentsOf(t, "b"), "the visit is yet to come")
	for _, test := range []struct {
		after time.Duration
		a, b  []audience.Number
	}{
		{time.Hour - time.Millisecond, []audience.Number{1, 2}, nil},
		{time.Hour, []audience.Number{1, 2}, []audience.Number{1, 2}},
		{7*24*time.Hour - time.Millisecond, []audience.Number{1, 2}, []audience.Number{1, 2}},
		{7 * 24 * time.Hour, []audience.Number{2}, []audience.Number{1, 2}},
		{7*24*time.Hour + time.Hour, []audience.Number{2}, []audience.Number{2}},
		{31 * 24 * time.Hour, nil, nil},
	} {
		h.clock.set(noon.Add(test.after))
		h.settle(t)
		require.Equal(t, test.a, h.segmentsOf(t, "a"), "a after %s", test.after)
		require.Equal(t, test.b, h.segmentsOf(t, "b"), "b after %s", test.after)
	}
}
