package segmenter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestExplain: what an explanation says of real records, now and as of then.
func TestExplain(t *testing.T) {
	h := newHouse(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	segment, err := h.store.Segments().Create(t.Context(), audience.Segment{ID: "fans", Expression: `count("purchase", "30d") >= 2 && attr.plan == "pro"`})
	require.NoError(t, err)
	_, err = h.store.WriteEvents(t.Context(), []audience.Event{
		{User: "ann", ID: "e1", Type: "purchase", Time: now.Add(-48 * time.Hour)},
		{User: "ann", ID: "e2", Type: "purchase", Time: now.Add(-time.Hour)},
	})
	require.NoError(t, err)
	require.NoError(t, h.store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: "ann", Texts: map[string]string{"plan": "pro"}}}))
	_, err = h.Evaluate(t.Context(), nil, now, "runs/first", quiet)
	require.NoError(t, err)

	x, err := h.Explain(t.Context(), "ann", segment, time.Time{})
	require.NoError(t, err)
	require.True(t, x.Member)
	require.Equal(t, "runs/first", x.Since.Cause)
	require.Len(t, x.Clauses, 2)
	require.Equal(t, []audience.ExplainedValue{{Text: `count("purchase", "30d")`, Value: "2", Events: []string{"e2", "e1"}}}, x.Clauses[0].Conditions[0].Values[:1])

	x, err = h.Explain(t.Context(), "ann", segment, now.Add(-2*time.Hour))
	require.NoError(t, err)
	require.False(t, x.Member, "one purchase by then")
	require.False(t, x.Clauses[0].Holds)
	require.True(t, x.Clauses[1].Holds)
	require.Nil(t, x.Since)

	x, err = h.Explain(t.Context(), "nobody", segment, now)
	require.NoError(t, err)
	require.False(t, x.Member)

	segment.Disabled = true
	_, err = h.store.Segments().Update(t.Context(), segment)
	require.NoError(t, err)
	x, err = h.Explain(t.Context(), "ann", segment, time.Time{})
	require.NoError(t, err, "in force until the next evaluation")
	require.True(t, x.Member)
	_, err = h.Evaluate(t.Context(), nil, now, "runs/second", quiet)
	require.NoError(t, err)
	_, err = h.Explain(t.Context(), "ann", segment, now)
	require.ErrorIs(t, err, audience.ErrPrecondition)
}
