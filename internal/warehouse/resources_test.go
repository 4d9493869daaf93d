package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestResources(t *testing.T) {
	store, ctx := open(t), t.Context()
	segments := store.Segments()

	created, err := segments.Create(ctx, audience.Segment{ID: "vip", Title: "VIP", Expression: `rfm.r >= 4`})
	require.NoError(t, err)
	require.EqualValues(t, 1, created.Number)
	require.NotEmpty(t, created.Etag)
	_, err = segments.Create(ctx, audience.Segment{ID: "vip"})
	require.ErrorIs(t, err, audience.ErrExists)
	require.EqualError(t, err, "segments/vip: exists")

	got, err := segments.Get(ctx, "vip")
	require.NoError(t, err)
	require.Equal(t, created, got)

	got.Title = "Very important"
	updated, err := segments.Update(ctx, got)
	require.NoError(t, err)
	require.NotEqual(t, created.Etag, updated.Etag)
	require.Equal(t, created.Number, updated.Number)
	require.Equal(t, created.CreateTime, updated.CreateTime)
	_, err = segments.Update(ctx, got)
	require.ErrorIs(t, err, audience.ErrConflict, "a stale etag")
	got.Etag = ""
	updated, err = segments.Update(ctx, got)
	require.NoError(t, err, "no etag, no check")

	require.ErrorIs(t, segments.Delete(ctx, "vip", created.Etag), audience.ErrConflict)
	require.NoError(t, segments.Delete(ctx, "vip", updated.Etag))
	_, err = segments.Get(ctx, "vip")
	require.ErrorIs(t, err, audience.ErrNotFound)
	require.EqualError(t, err, "segments/vip: not found")
	_, err = segments.Update(ctx, updated)
	require.ErrorIs(t, err, audience.ErrNotFound)
	require.ErrorIs(t, segments.Delete(ctx, "vip", ""), audience.ErrNotFound)

	again, err := segments.Create(ctx, audience.Segment{ID: "vip"})
	require.NoError(t, err)
	require.EqualValues(t, 2, again.Number, "numbers are not used again")
	model, err := store.Models().Create(ctx, audience.Model{ID: "vip", Kind: audience.ModelRFM, RFM: &audience.RFMSpec{Bins: 5}})
	require.NoError(t, err)
	require.EqualValues(t, 1, model.Number, "each kind has its own")
}

func TestResourcesAreListedById(t *testing.T) {
	store, ctx := open(t), t.Context()
	for _, id := range []audience.AudienceID{"c", "a", "d", "b"} {
		_, err := store.Audiences().Create(ctx, audience.Audience{ID: id, Segment: "s"})
		require.NoError(t, err)
	}
	_, err := store.Destinations().Create(ctx, audience.Destination{ID: "a-destination"})
	require.NoError(t, err)
	ids := func(list []audience.Audience, err error) (ids []audience.AudienceID) {
		require.NoError(t, err)
		for _, a := range list {
			ids = append(ids, a.ID)
		}
		return ids
	}
	require.Equal(t, []audience.AudienceID{"a", "b", "c", "d"}, ids(store.Audiences().All(ctx)))
	require.Equal(t, []audience.AudienceID{"a", "b"}, ids(store.Audiences().List(ctx, "", 2)))
	require.Equal(t, []audience.AudienceID{"c", "d"}, ids(store.Audiences().List(ctx, "b", 2)))
	require.Empty(t, ids(store.Audiences().List(ctx, "d", 2)))
}

func TestRuns(t *testing.T) {
	store, ctx := open(t), t.Context()
	run := audience.Run{
		ID: "0192-2", Kind: audience.RunSync, Subject: "audiences/vip", State: audience.RunRunning, Stage: "sending", DoneUnits: 3, TotalUnits: 9,
		Counts: map[string]int64{"added": 3}, Notes: []string{"first", "second"}, CreateTime: noon,
		Occasion: audience.OccasionSchedule, Due: noon.Add(-time.Minute), Resumes: "0192-0", Holder: "here",
	}
	require.NoError(t, store.PutRun(ctx, run))
	got, err := store.GetRun(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, run, got)

	run.State, run.Error, run.EndTime = audience.RunFailed, "no answer", noon.Add(time.Minute)
	require.NoError(t, store.PutRun(ctx, run))
	got, err = store.GetRun(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, run, got)
	_, err = store.GetRun(ctx, "0192-9")
	require.EqualError(t, err, "runs/0192-9: not found")

	require.NoError(t, store.PutRun(ctx, audience.Run{ID: "0192-1", Kind: audience.RunTrain, Subject: "models/rfm", State: audience.RunSucceeded}))
	require.NoError(t, store.PutRun(ctx, audience.Run{ID: "0192-3", Kind: audience.RunTrain, Subject: "models/rfm", State: audience.RunQueued}))
	for _, c := range []struct {
		name   string
		filter audience.RunFilter
		before audience.RunID
		limit  int
		want   []audience.RunID
	}{
		{"all", audience.RunFilter{}, "", 0, []audience.RunID{"0192-3", "0192-2", "0192-1"}},
		{"first page", audience.RunFilter{}, "", 2, []audience.RunID{"0192-3", "0192-2"}},
		{"second page", audience.RunFilter{}, "0192-2", 2, []audience.RunID{"0192-1"}},
		{"kind", audience.RunFilter{Kind: audience.RunTrain}, "", 0, []audience.RunID{"0192-3", "0192-1"}},
		{"subject", audience.RunFilter{Subject: "audiences/vip"}, "", 0, []audience.RunID{"0192-2"}},
		{"state is the newest", audience.RunFilter{State: audience.RunRunning}, "", 0, nil},
		{"kind and state", audience.RunFilter{Kind: audience.RunTrain, State: audience.RunQueued}, "", 0, []audience.RunID{"0192-3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs, err := store.ListRuns(ctx, c.filter, c.before, c.limit)
			require.NoError(t, err)
			var ids []audience.RunID
			for _, run := range runs {
				ids = append(ids, run.ID)
			}
			require.Equal(t, c.want, ids)
		})
	}
}

func TestLastRuns(t *testing.T) {
	store, ctx := open(t), t.Context()
	put := func(id audience.RunID, subject string, state audience.RunState, due time.Time) {
		t.Helper()
		require.NoError(t, store.PutRun(ctx, audience.Run{ID: id, Kind: audience.RunSync, Subject: subject, State: state, Due: due, CreateTime: noon}))
	}
	put("0192-1", "audiences/a", audience.RunRunning, noon)
	put("0192-1", "audiences/a", audience.RunSucceeded, noon)
	put("0192-2", "audiences/a", audience.RunHeld, time.Time{})
	put("0192-3", "audiences/b", audience.RunRunning, time.Time{})
	type row struct {
		subject string
		id      audience.RunID
		state   audience.RunState
		done    time.Time
	}
	read := func(from audience.RunID) (rows []row) {
		last, err := store.LastRuns(ctx, from)
		require.NoError(t, err)
		for _, l := range last {
			require.Equal(t, noon, l.CreateTime)
			rows = append(rows, row{l.Subject, l.ID, l.State, l.DueDone})
		}
		return rows
	}
	a, b := row{"audiences/a", "0192-2", audience.RunHeld, noon}, row{"audiences/b", "0192-3", audience.RunRunning, time.Time{}}
	require.ElementsMatch(t, []row{a, b}, read(""))
	a.done = time.Time{}
	require.ElementsMatch(t, []row{a, b}, read("0192-2"))
	require.ElementsMatch(t, []row{b}, read("0192-3"))
}

func TestOrdersToStopRuns(t *testing.T) {
	store, ctx := open(t), t.Context()
	for range 2 {
		require.NoError(t, store.OrderCancel(ctx, "0192-1"))
	}
	ordered, err := store.OrderedCancels(ctx, []audience.RunID{"0192-0", "0192-1"})
	require.NoError(t, err)
	require.Equal(t, []audience.RunID{"0192-1"}, ordered)
}

func TestAnswersAreRemembered(t *testing.T) {
	store, ctx := open(t), t.Context()
	require.NoError(t, store.Remember(ctx, "IngestEvents", "one", []byte("\x00\xff")))
	answer, found, err := store.Recall(ctx, "IngestEvents", "one")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, []byte("\x00\xff"), answer)
	_, found, err = store.Recall(ctx, "TrainModel", "one")
	require.NoError(t, err)
	require.False(t, found)

	require.NoError(t, store.insert(ctx, "answers (call, request_id, answer, time)",
		[]string{"IngestEvents"}, []string{"old"}, []string{"x"}, []int64{millis(time.Now().Add(-25 * time.Hour))}))
	_, found, err = store.Recall(ctx, "IngestEvents", "old")
	require.NoError(t, err)
	require.False(t, found, "for 24 hours")
}

func TestVersionsRiseThoughTheClockFalls(t *testing.T) {
	var c clock
	future := uint64(time.Now().Add(time.Hour).UnixNano())
	c.startAfter(future)
	require.Equal(t, future+1, c.next())
	require.Equal(t, future+2, c.next())
}

// TestPlatformIDLosesNoEdit: what people edit while a sync keeps the platform's id stays, and the other way round.
func TestPlatformIDLosesNoEdit(t *testing.T) {
	store, ctx := open(t), t.Context()
	made, err := store.Audiences().Create(ctx, audience.Audience{ID: "vip"})
	require.NoError(t, err)
	other, err := store.Audiences().Create(ctx, audience.Audience{ID: "other"})
	require.NoError(t, err)
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "120", false, 0))
	made.PlatformName = "edited" // by somebody who does not know the id
	_, err = store.Audiences().Update(ctx, made)
	require.NoError(t, err, "its etag is still current")
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "121", true, 0))
	kept, err := store.Audiences().Get(ctx, "vip")
	require.NoError(t, err)
	require.Equal(t, []any{"121", true, "edited"}, []any{kept.PlatformID, kept.PlatformFiles, kept.PlatformName})
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "", false, 0))
	all, err := store.Audiences().All(ctx)
	require.NoError(t, err)
	require.Equal(t, []audience.AudienceID{"other", "vip"}, []audience.AudienceID{all[0].ID, all[1].ID})
	require.Empty(t, all[0].PlatformID+all[1].PlatformID)
	require.Equal(t, other.Number, all[0].Number)
}

// TestPlatformIDIsFenced: a holder of an audience that was paused does not bring back the platform's id that another has
// replaced.
func TestPlatformIDIsFenced(t *testing.T) {
	store, ctx := open(t), t.Context()
	made, err := store.Audiences().Create(ctx, audience.Audience{ID: "vip"})
	require.NoError(t, err)
	const first, second = 2_000_000_000, 3_000_000_000 // fences
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "120", false, first+1))
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "121", true, second+1))
	require.NoError(t, store.SetPlatformID(ctx, made.Number, "", false, first+2))
	kept, err := store.Audiences().Get(ctx, "vip")
	require.NoError(t, err)
	require.Equal(t, "121", kept.PlatformID)
	require.True(t, kept.PlatformFiles)
}
