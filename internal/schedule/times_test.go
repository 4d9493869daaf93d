package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/schedule"
)

func instant(t require.TestingT, text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at.UTC()
}

func times(t require.TestingT, s audience.Schedule) schedule.Times {
	parsed, err := schedule.Parse(s, "audiences/vip")
	require.NoError(t, err)
	return parsed
}

// Warsaw's clocks jump from 2:00 to 3:00 on 2026-03-29, and from 3:00 back to 2:00 on 2026-10-25.
func TestNextInstants(t *testing.T) {
	for name, c := range map[string]struct {
		cron, zone, after string
		want              []string
	}{
		"weekdays":                     {"30 6 * * 1-5", "", "2026-05-01T06:30:00Z", []string{"2026-05-04T06:30:00Z", "2026-05-05T06:30:00Z"}},
		"in a zone":                    {"30 6 * * *", "Europe/Warsaw", "2026-05-01T00:00:00Z", []string{"2026-05-01T04:30:00Z", "2026-05-02T04:30:00Z"}},
		"a word":                       {"@weekly", "", "2026-05-01T00:00:00Z", []string{"2026-05-03T00:00:00Z", "2026-05-10T00:00:00Z"}},
		"a leap day":                   {"0 0 29 2 *", "", "2026-05-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"skipped hour":                 {"30 2 * * *", "Europe/Warsaw", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"skipped, and right after":     {"0 2,3 * * *", "Europe/Warsaw", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		"skipped more than once":       {"*/20 2 * * *", "Europe/Warsaw", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:20:00Z"}},
		"every hour, one skipped":      {"15 * * * *", "Europe/Warsaw", "2026-03-29T00:00:00Z", []string{"2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z", "2026-03-29T02:15:00Z"}},
		"repeated hour":                {"30 2 * * *", "Europe/Warsaw", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"from inside a repeated hour":  {"30 2 * * *", "Europe/Warsaw", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		"before the repetition":        {"0 3 * * *", "Europe/Warsaw", "2026-10-25T00:30:00Z", []string{"2026-10-25T02:00:00Z"}},
		"every hour, one repeated":     {"15 * * * *", "Europe/Warsaw", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"}},
		"every quarter of such a hour": {"*/30 * * * *", "Europe/Warsaw", "2026-10-25T00:15:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"}},
		"midnight that is skipped":     {"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}},
		"half an hour of summer":       {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			at, parsed := instant(t, c.after), times(t, audience.Schedule{Cron: c.cron, TimeZone: c.zone})
			for _, want := range c.want {
				at = parsed.Next(at)
				require.Equal(t, want, at.Format(time.RFC3339))
			}
		})
	}
	require.True(t, times(t, audience.Schedule{}).Next(time.Now()).IsZero())
}

func TestMissed(t *testing.T) {
	for name, c := range map[string]struct{ cron, after, now, want string }{
		"none yet":             {"0 6 * * *", "2026-05-01T06:00:00Z", "2026-05-02T05:59:59Z", ""},
		"this very moment":     {"0 6 * * *", "2026-05-01T06:00:00Z", "2026-05-02T06:00:00Z", "2026-05-02T06:00:00Z"},
		"the newest of many":   {"0 6 * * *", "2026-05-01T06:00:00Z", "2026-05-09T12:00:00Z", "2026-05-09T06:00:00Z"},
		"each minute of years": {"* * * * *", "2020-05-01T06:00:00Z", "2026-05-09T12:00:30Z", "2026-05-09T12:00:00Z"},
		"one in years":         {"0 0 29 2 *", "2020-05-01T06:00:00Z", "2026-05-09T12:00:00Z", "2024-02-29T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			missed := times(t, audience.Schedule{Cron: c.cron}).Missed(instant(t, c.after), instant(t, c.now))
			if c.want == "" {
				require.True(t, missed.IsZero(), missed)
				return
			}
			require.Equal(t, c.want, missed.Format(time.RFC3339))
		})
	}
}

// Instants rise, there is no end of them, and which was missed does not depend on how it is looked for.
func TestInstantsRise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hours := rapid.SampledFrom([]string{"*", "*/2", "2", "1-3", "0", "23"}).Draw(t, "hours")
		minutes := rapid.SampledFrom([]string{"0", "30", "*/20", "59"}).Draw(t, "minutes")
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(t, "zone")
		jitter := time.Duration(rapid.IntRange(0, 7200).Draw(t, "jitter")) * time.Second
		parsed := times(t, audience.Schedule{Cron: fmt.Sprintf("%s %s * * *", minutes, hours), TimeZone: zone, Jitter: jitter})
		at := time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "from"), 0).UTC()
		last, after := time.Time{}, at
		for range 60 {
			next := parsed.Next(at)
			require.True(t, next.After(at))
			require.LessOrEqual(t, next.Sub(at), 50*time.Hour)
			last, at = next, next
		}
		require.Equal(t, last, parsed.Missed(after, last))
		require.Equal(t, last, parsed.Missed(last.Add(-time.Second), parsed.Next(last).Add(-time.Second)))
	})
}

func TestJitterIsTheSameForAResource(t *testing.T) {
	const jitter = 10 * time.Minute
	s := audience.Schedule{Cron: "0 6 * * *", Jitter: jitter}
	due := map[time.Time]bool{}
	for i := range 20 {
		subject := fmt.Sprint("audiences/", i)
		var first time.Time
		for range 2 {
			parsed, err := schedule.Parse(s, subject)
			require.NoError(t, err)
			next := parsed.Next(instant(t, "2026-05-01T00:00:00Z"))
			require.True(t, first.IsZero() || first.Equal(next))
			first = next
			late := next.Sub(instant(t, "2026-05-01T06:00:00Z"))
			require.True(t, late >= 0 && late < jitter, late)
			require.Equal(t, next.Add(24*time.Hour), parsed.Next(next))
		}
		due[first] = true
	}
	require.Greater(t, len(due), 10)
}

func TestWhatIsNoSchedule(t *testing.T) {
	for name, c := range map[string]struct {
		schedule audience.Schedule
		want     string
	}{
		"not cron":          {audience.Schedule{Cron: "six in the morning"}, `cron: "six in the morning" cannot be read`},
		"four fields":       {audience.Schedule{Cron: "0 6 * *"}, "write minute, hour, day, month, weekday"},
		"seconds":           {audience.Schedule{Cron: "0 0 6 * * *"}, "write minute, hour, day, month, weekday"},
		"weekday 7":         {audience.Schedule{Cron: "0 6 * * 7"}, "weekday (0 to 6)"},
		"no day":            {audience.Schedule{Cron: "0 6 31 2 *"}, "never comes"},
		"a zone inside":     {audience.Schedule{Cron: "TZ=UTC 0 6 * * *"}, "put it into time_zone"},
		"only a zone":       {audience.Schedule{Cron: "TZ=UTC"}, "put it into time_zone"},
		"no set times":      {audience.Schedule{Cron: "@every 5m"}, "has no set times"},
		"no zone":           {audience.Schedule{Cron: "@daily", TimeZone: "Europe/Krakow"}, "time_zone: "},
		"the machine's":     {audience.Schedule{Cron: "@daily", TimeZone: "Local"}, "use a name such as Europe/Warsaw"},
		"a zone of nothing": {audience.Schedule{TimeZone: "Europe/Warsaw"}, "cron: is missing"},
		"jitter of nothing": {audience.Schedule{Jitter: time.Minute}, "cron: is missing"},
		"negative jitter":   {audience.Schedule{Cron: "@daily", Jitter: -1}, "jitter: is -1ns; use 0s to 24h"},
		"long jitter":       {audience.Schedule{Cron: "@daily", Jitter: 25 * time.Hour}, "jitter: is 25h"},
		"hasty":             {audience.Schedule{OnChange: time.Millisecond}, "on_change: is 1ms; use 1s to 24h"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schedule.Parse(c.schedule, "audiences/vip")
			require.ErrorIs(t, err, audience.ErrInvalid)
			require.ErrorContains(t, err, c.want)
		})
	}
}
