package rfm_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

func TestRecencyDays(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	require.NoError(t, err)
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, london)
		require.NoError(t, err)
		return v
	}
	for _, tc := range []struct {
		name       string
		last, asOf string
		by         rfm.RecencyBy
		want       int64
	}{
		{"a minute before midnight is yesterday", "2010-01-01 23:59", "2010-01-02 00:00", rfm.Calendar, 1},
		{"but not a day ago", "2010-01-01 23:59", "2010-01-02 00:00", rfm.Elapsed, 0},
		{"the short day of spring is a day", "2010-03-28 00:00", "2010-03-29 00:00", rfm.Calendar, 1},
		{"though of 23 hours", "2010-03-28 00:00", "2010-03-29 00:00", rfm.Elapsed, 0},
		{"summer nights belong to the local day", "2010-07-01 00:30", "2010-07-01 23:30", rfm.Calendar, 0},
		{"before 1970", "1969-12-30 12:00", "1970-01-02 00:00", rfm.Calendar, 3},
		{"after as_of", "2010-01-03 00:00", "2010-01-01 00:00", rfm.Calendar, 0},
		{"elapsed after as_of", "2010-01-05 00:00", "2010-01-01 00:00", rfm.Elapsed, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, rfm.RecencyDays(at(tc.last), at(tc.asOf), london, tc.by))
		})
	}
}

func TestMeasure(t *testing.T) {
	day := func(d, h int) time.Time { return time.Date(2020, 1, d, h, 0, 0, 0, time.UTC) }
	history := []rfm.Purchase{
		{Time: day(1, 0), OrderID: "o1", ValueMicros: 10e6},
		{Time: day(5, 9), OrderID: "o2", ValueMicros: 20e6},
		{Time: day(5, 9), OrderID: "o2", ValueMicros: 5e6},
		{Time: day(5, 20), ValueMicros: 1e6},
		{Time: day(7, 0), OrderID: "o2", ValueMicros: -6e6},
		{Time: day(20, 0), OrderID: "o4", ValueMicros: 99e6},
	}
	for _, tc := range []struct {
		name   string
		config rfm.Config
		want   rfm.Values
	}{
		{"orders, net", rfm.Config{}, rfm.Values{RecencyDays: 5, Frequency: 3, MonetaryMicros: 30e6}},
		{"events", rfm.Config{Frequency: rfm.Events}, rfm.Values{RecencyDays: 5, Frequency: 4, MonetaryMicros: 30e6}},
		{"days", rfm.Config{Frequency: rfm.Days}, rfm.Values{RecencyDays: 5, Frequency: 2, MonetaryMicros: 30e6}},
		{"refunds ignored", rfm.Config{Refunds: rfm.Ignore}, rfm.Values{RecencyDays: 5, Frequency: 3, MonetaryMicros: 36e6}},
		{"mean", rfm.Config{Monetary: rfm.Mean, Frequency: rfm.Events, Refunds: rfm.Ignore}, rfm.Values{RecencyDays: 5, Frequency: 4, MonetaryMicros: 9e6}},
		{"window opens after its start", rfm.Config{WindowDays: 9}, rfm.Values{RecencyDays: 5, Frequency: 2, MonetaryMicros: 20e6}},
		{"window wide enough", rfm.Config{WindowDays: 10}, rfm.Values{RecencyDays: 5, Frequency: 3, MonetaryMicros: 30e6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := tc.config.Measure(history, day(10, 23))
			require.True(t, ok)
			require.Equal(t, tc.want, got)
		})
	}

	edge := []rfm.Purchase{{Time: day(1, 0)}}
	_, ok := rfm.Config{WindowDays: 9}.Measure(edge, day(10, 0))
	require.False(t, ok, "the start of the window is outside")
	_, ok = rfm.Config{}.Measure(edge, day(1, 0))
	require.True(t, ok, "its end is inside")
	_, ok = rfm.Config{}.Measure([]rfm.Purchase{{Time: day(1, 0), ValueMicros: -1}}, day(10, 0))
	require.False(t, ok, "a refund is no purchase")
	_, ok = rfm.Config{}.Measure(history, day(1, 0).Add(-time.Second))
	require.False(t, ok, "everything is later than as_of")
}
