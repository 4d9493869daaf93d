package audience_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// fields are the fields an InvalidError names; none for nil.
func fields(t *testing.T, err error) (named []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	require.ErrorIs(t, err, audience.ErrInvalid)
	var invalid *audience.InvalidError
	require.ErrorAs(t, err, &invalid)
	for _, v := range invalid.Violations {
		named = append(named, v.Field)
	}
	return named
}

func TestEventValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*audience.Event)
		want   []string
	}{
		"good":                    {func(*audience.Event) {}, nil},
		"no user":                 {func(e *audience.Event) { e.User = "" }, []string{"user_id"}},
		"user of 10 000 bytes":    {func(e *audience.Event) { e.User = audience.UserID(strings.Repeat("x", 10_000)) }, []string{"user_id"}},
		"user of 256 bytes":       {func(e *audience.Event) { e.User = audience.UserID(strings.Repeat("x", 256)) }, nil},
		"NUL":                     {func(e *audience.Event) { e.User = "a\x00b" }, []string{"user_id"}},
		"a control character":     {func(e *audience.Event) { e.Type = "buy\u0085" }, []string{"type"}},
		"invalid UTF-8":           {func(e *audience.Event) { e.ID = "\xff" }, []string{"event_id"}},
		"year 9999":               {func(e *audience.Event) { e.Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"time"}},
		"before 1970":             {func(e *audience.Event) { e.Time = time.Unix(-1, 0) }, []string{"time"}},
		"the first instant":       {func(e *audience.Event) { e.Time = time.Unix(0, 0) }, nil},
		"a trillion":              {func(e *audience.Event) { e.ValueMicros = math.MaxInt64 }, []string{"value_micros"}},
		"minus a trillion":        {func(e *audience.Event) { e.ValueMicros = math.MinInt64 }, []string{"value_micros"}},
		"NaN":                     {func(e *audience.Event) { e.Numbers = map[string]float64{"n": math.NaN()} }, []string{"properties.n"}},
		"infinite":                {func(e *audience.Event) { e.Numbers = map[string]float64{"n": math.Inf(-1)} }, []string{"properties.n"}},
		"text and number at once": {func(e *audience.Event) { e.Texts, e.Numbers = map[string]string{"n": "1"}, map[string]float64{"n": 1} }, []string{"properties.n"}},
		"a text too long":         {func(e *audience.Event) { e.Texts = map[string]string{"t": strings.Repeat("x", 5_000)} }, []string{"properties.t"}},
		"all at once":             {func(e *audience.Event) { *e = audience.Event{Time: time.Unix(-1, 0)} }, []string{"user_id", "event_id", "type", "time"}},
	} {
		t.Run(name, func(t *testing.T) {
			event := audience.Event{User: "u", ID: "e", Type: "purchase", Time: time.Unix(1, 0)}
			test.change(&event)
			require.Equal(t, test.want, fields(t, event.Validate()))
		})
	}
}

func TestMoveValidate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct {
		move audience.Move
		want []string
	}{
		"good":              {audience.Move{User: "u", Into: []audience.SegmentID{"a"}, OutOf: []audience.SegmentID{"b"}}, nil},
		"nowhere":           {audience.Move{User: "u"}, []string{"into"}},
		"in and out":        {audience.Move{User: "u", Into: []audience.SegmentID{"a"}, OutOf: []audience.SegmentID{"a"}}, []string{"out_of[0]"}},
		"ended already":     {audience.Move{User: "u", Into: []audience.SegmentID{"a"}, Expires: now}, []string{"expires"}},
		"ends in 200 years": {audience.Move{User: "u", Into: []audience.SegmentID{"a"}, Expires: now.AddDate(200, 0, 0)}, []string{"expires"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, fields(t, test.move.Validate(now)))
		})
	}
}

func TestValidSlug(t *testing.T) {
	for id, valid := range map[string]bool{
		"vip": true, "win-back_2": true, "a": true, strings.Repeat("a", 63): true,
		"": false, "Vip": false, "2nd": false, "a b": false, "a/b": false, "-a": false, strings.Repeat("a", 64): false, "ä": false,
	} {
		require.Equal(t, valid, audience.ValidSlug("id", id) == nil, "%q", id)
	}
}

// TestErrors: kinds are found through wraps, and fields get the path by which the caller knows them.
func TestErrors(t *testing.T) {
	require.Equal(t, []string{"events[3].time"}, fields(t, audience.Within("events[3]", audience.Invalid("time", "is late"))))
	other := errors.New("other")
	require.Equal(t, other, audience.Within("events[3]", other))
	require.NoError(t, audience.Within("events[3]", nil))

	var v audience.Violations
	require.NoError(t, v.Err())
	require.True(t, v.Merge("row", audience.Invalid("a", "is wrong")))
	require.False(t, v.Merge("row", other), "not a fault of the input")
	require.Equal(t, []string{"row.a"}, fields(t, v.Err()))

	gone := &audience.ResourceError{Kind: audience.ErrNotFound, Name: "segments/vip"}
	require.ErrorIs(t, gone, audience.ErrNotFound)
	away := &audience.UnavailableError{What: "redis", RetryAfter: time.Second, Err: other}
	require.ErrorIs(t, away, audience.ErrUnavailable)
	require.ErrorIs(t, away, other)
}

func TestMayHold(t *testing.T) {
	for state, may := range map[audience.DeliveryState]bool{
		audience.DeliverySending: true, audience.DeliveryDelivered: true, audience.DeliveryRemoving: true,
		audience.DeliveryRemoved: false, audience.DeliveryRejected: false, "": false,
	} {
		require.Equal(t, may, state.MayHold(), state)
	}
}

func TestIsSecretName(t *testing.T) {
	for name, yes := range map[string]bool{
		"meta-token": true, "a.b_c": true, "env:META": true, "env:META_2": true, "": false, "../etc/passwd": false, "a/b": false, ".hidden": false,
		"env:": false, "env:path": false, "env:A B": false, "ENV:META": false,
	} {
		require.Equal(t, yes, audience.IsSecretName(name), "%q", name)
	}
}
