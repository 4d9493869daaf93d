package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// TestScheduledWork: the clock of the service brings a training, and with it an evaluation, and a sync; a change of members
// brings another.
func TestScheduledWork(t *testing.T) {
	platforms := trappedPlatforms(t)
	config := testConfig(t)
	config.Now = time.Date(2026, 7, 1, 12, 59, 50, 0, time.UTC)
	s, _ := startConfigured(t, config)
	c, err := dial(s.address())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.conn.Close()) })
	_, err = kohorta(t, s.address(), "apply", "--yes", "-f", write(t, "resources.yaml", fmt.Sprintf(`
models:
  - {id: rfm, rfm: {}, schedule: {cron: "@hourly"}}
segments:
  - {id: signed-up, expression: 'did("signup", "all")'}
destinations:
  - {id: meta, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %q}
audiences:
  - {id: hourly, segment: segments/signed-up, destination: destinations/meta, schedule: {cron: "0 15 * * *", time_zone: Europe/Warsaw}}
  - {id: following, segment: segments/signed-up, destination: destinations/meta, schedule: {on_change: 1s}}
`, platforms.url)))
	require.NoError(t, err)
	_, err = kohorta(t, s.address(), "segment", "evaluate")
	require.NoError(t, err)
	listed, err := kohorta(t, s.address(), "audience", "list")
	require.NoError(t, err)
	require.Regexp(t, `hourly .*2026-07-01 13:00:00`, listed)

	began := func(subject string, occasion audiencev1.Run_Occasion) *audiencev1.Run {
		t.Helper()
		var found *audiencev1.Run
		require.Eventually(t, func() bool {
			r, err := c.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Subject: subject})
			require.NoError(t, err)
			for _, run := range r.GetRuns() {
				if run.GetOccasion() == occasion && run.GetState() == audiencev1.Run_STATE_SUCCEEDED {
					found = run
				}
			}
			return found != nil
		}, patience, 100*time.Millisecond, "%s by %s", subject, occasion)
		return found
	}
	change := func(user string) {
		t.Helper()
		someone := invent("someone")
		for ; !someone.sendable(); someone = invent(someone.user + "x") {
		}
		profile := someone.profile()
		profile.UserId = user
		_, err := c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{profile}})
		require.NoError(t, err)
		_, err = c.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{
			{UserId: user, EventId: "1", Type: "signup", Time: timestamppb.New(visited)},
			{UserId: user, EventId: "2", Type: "purchase", ValueMicros: 1_000_000, Time: timestamppb.New(visited)},
		}})
		require.NoError(t, err)
	}
	one := time.Date(2026, 7, 1, 13, 0, 0, 0, time.UTC)
	change("ada")
	for subject, occasion := range map[string]audiencev1.Run_Occasion{
		"models/rfm": audiencev1.Run_OCCASION_SCHEDULE, "audiences/hourly": audiencev1.Run_OCCASION_SCHEDULE,
	} {
		run := began(subject, occasion)
		require.Equal(t, one, run.GetDueTime().AsTime(), subject)
	}
	first := began("audiences/following", audiencev1.Run_OCCASION_CHANGE)
	change("bea")
	require.Eventually(t, func() bool {
		newest := newestOf(t, c, "audiences/following")
		return newest.GetName() != first.GetName() && newest.GetOccasion() == audiencev1.Run_OCCASION_CHANGE && newest.GetCounts()["members"] == 2
	}, patience, 100*time.Millisecond, "a change of members brings a sync")
	listed, err = kohorta(t, s.address(), "audience", "list")
	require.NoError(t, err)
	require.Regexp(t, `hourly .*2026-07-02 13:00:00`, listed)
}

func newestOf(t *testing.T, c *client, subject string) *audiencev1.Run {
	t.Helper()
	r, err := c.runs.ListRuns(t.Context(), &audiencev1.ListRunsRequest{Subject: subject, PageSize: 1})
	require.NoError(t, err)
	require.Len(t, r.GetRuns(), 1)
	return r.GetRuns()[0]
}
