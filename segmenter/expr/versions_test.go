package expr

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestVersionsBesideOneAnother: old and new versions of segments, compiled together under numbers of their own, answer as they
// do alone, and pins hold for both.
func TestVersionsBesideOneAnother(t *testing.T) {
	const users, segments = 100, 6
	w := newWorld(t)
	instant := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	generator := rapid.Custom(func(t *rapid.T) History { return aHistory(t, instant) })
	histories := make([]History, users)
	for i := range histories {
		histories[i] = generator.Example(i)
	}
	ids := w.write(histories)
	rapid.Check(t, func(t *rapid.T) {
		scores := modelsWith(aModel(t))
		version := func(renumbered audience.Number) (list []Segment) {
			for i := range segments {
				number := audience.Number(i + 1)
				s := Segment{ID: audience.SegmentID(firstIDs(segments)[i]), Number: number + renumbered, Pinned: number, Expression: anExpression(t, i), Priority: i}
				if number%2 == 1 {
					s.Group = rapid.SampledFrom([]string{"", "", "tier", "stage"}).Draw(t, "group")
				}
				list = append(list, s)
			}
			return list
		}
		before, after := version(segments*2), version(segments) // a later version may have the lower number
		instead := map[audience.SegmentID]audience.SegmentID{}
		together := slices.Clone(before)
		for _, s := range after {
			instead[s.ID] = s.ID + "'"
		}
		for _, s := range after {
			s.ID, s.Instead = instead[s.ID], instead
			if s.Group != "" {
				s.Group += "'"
			}
			together = append(together, s)
		}
		p, err := Compile(together, scores)
		require.NoError(t, err)
		old, err := Compile(before, scores)
		require.NoError(t, err)
		renewed, err := Compile(after, scores)
		require.NoError(t, err)
		for _, h := range histories {
			want := append(renewed.Eval(h, instant), old.Eval(h, instant)...)
			require.Equal(t, want, p.Eval(h, instant), "%+v", h)
		}
		_, err = w.agree(p, instant, histories, ids, ids[:20])
		require.NoError(t, err)
	})
}
