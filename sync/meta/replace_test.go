package meta_test

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// clock is one time for client and platform.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// startTimed is start with a clock to set, requests of 100 rows, and an audience filled with the first 300 people.
func startTimed(t *testing.T, cfg sandbox.Config) (*sandbox.Server, *meta.Client, *clock, string) {
	t.Helper()
	clock := &clock{}
	cfg.Now, cfg.QuotasOff = clock.now, true
	s := sandbox.New(cfg)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	token, secret := filepath.Join(dir, "token"), filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoMetaToken), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte(sandbox.DemoMetaAppSecret), 0o600))
	c, err := meta.New(meta.Config{Account: sandbox.DemoMetaAccount, BaseURL: server.URL, TokenFile: token, AppSecretFile: secret,
		BatchRows: 100, Now: clock.now}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	id, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "vip"})
	require.NoError(t, err)
	add(t, c, id, people(t, 300))
	return s, c, clock, id
}

func add(t *testing.T, c *meta.Client, id string, rows []destination.Row) {
	t.Helper()
	batches, left := c.Split(rows, destination.Add)
	require.Empty(t, left)
	for _, b := range batches {
		result, err := c.Apply(t.Context(), id, b)
		require.NoError(t, err)
		require.Empty(t, result.Rejected)
		require.Zero(t, result.Unnamed)
	}
}

// others are n people that people does not give.
func others(t *testing.T, n int) []destination.Row { return people(t, 300+n)[300:] }

// holds says row by row that the platform holds exactly these people.
func holds(t *testing.T, s *sandbox.Server, id string, rows []destination.Row) {
	t.Helper()
	var got, want []map[string]string
	for _, r := range s.Meta().Members(id) {
		got = append(got, r.Keys)
	}
	for _, r := range rows {
		want = append(want, keysOf(r))
	}
	require.ElementsMatch(t, want, got)
}

func failure(t *testing.T, err error) *destination.Error {
	t.Helper()
	var e *destination.Error
	require.ErrorAs(t, err, &e)
	return e
}

// TestReplace: other members, other columns filled in each batch, and nobody of before is left.
func TestReplace(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	rows := others(t, 250)
	r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 250})
	require.NoError(t, err)
	holds(t, s, id, people(t, 300))
	require.NoError(t, r.Finish(t.Context()), "nothing has begun, nothing is lost")

	batches, _ := c.Split(rows, destination.Add)
	for i, b := range batches {
		_, err := r.Send(t.Context(), b, i == len(batches)-1)
		require.NoError(t, err)
		if i == 0 {
			_, err = c.Apply(t.Context(), id, b)
			require.Equal(t, destination.Busy, failure(t, err).Kind, "never mixed with adds")
			_, err = c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 1})
			require.Equal(t, destination.Busy, failure(t, err).Kind, "nor with another replace")
			require.Equal(t, destination.Busy, failure(t, r.Finish(t.Context())).Kind)
		}
	}
	require.Equal(t, destination.Busy, failure(t, r.Finish(t.Context())).Kind, "the platform is still taking it in")
	_, err = c.Apply(t.Context(), id, batches[0])
	require.Equal(t, destination.Busy, failure(t, err).Kind)
	_, err = r.Send(t.Context(), batches[0], false)
	require.ErrorIs(t, err, destination.ErrReplaceOver)
	clock.advance(2 * time.Minute)
	require.NoError(t, r.Finish(t.Context()))
	holds(t, s, id, rows)
	add(t, c, id, people(t, 10))
}

// TestReplaceLostAnswers: whatever batch's answer is lost, before or after the platform took it, the members are those sent.
func TestReplaceLostAnswers(t *testing.T) {
	for _, kind := range []sandbox.FaultKind{sandbox.FaultResetBefore, sandbox.FaultResetAfter, sandbox.FaultHTTP500} {
		for lost := range 3 {
			t.Run(string(kind)+" of batch "+string(rune('1'+lost)), func(t *testing.T) {
				s, c, clock, id := startTimed(t, sandbox.Config{})
				rows := others(t, 300)
				batches, _ := c.Split(rows, destination.Add)
				r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 300})
				require.NoError(t, err)
				var open []destination.Row // not confirmed
				for i, b := range batches {
					if i == lost {
						require.NoError(t, s.Inject(sandbox.Fault{Kind: kind, Path: "/usersreplace", Count: 1}))
						_, err = r.Send(t.Context(), b, i == 2)
						require.Equal(t, destination.Transient, failure(t, err).Kind)
					}
					_, err := r.Send(t.Context(), b, i == 2)
					if i == 2 && lost == 2 && kind == sandbox.FaultResetAfter { // the platform has closed the session meanwhile
						require.ErrorIs(t, err, destination.ErrReplaceOver)
						open = append(open, b.Rows...)
						continue
					}
					require.NoError(t, err)
				}
				clock.advance(2 * time.Minute)
				require.NoError(t, r.Finish(t.Context()))
				add(t, c, id, open)
				holds(t, s, id, rows)
			})
		}
	}
}

// TestReplaceTimeUp: 90 minutes after the first batch the platform ends the replace; the rest goes by add.
func TestReplaceTimeUp(t *testing.T) {
	for name, told := range map[string]bool{"known by our clock": false, "told by the platform": true} {
		t.Run(name, func(t *testing.T) {
			s, c, clock, id := startTimed(t, sandbox.Config{})
			rows := others(t, 300)
			batches, _ := c.Split(rows, destination.Add)
			r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 300})
			require.NoError(t, err)
			_, err = r.Send(t.Context(), batches[0], false)
			require.NoError(t, err)
			before := s.Counts("meta").Requests
			if told {
				s.Advance(91 * time.Minute)
			} else {
				clock.advance(91 * time.Minute)
			}
			_, err = r.Send(t.Context(), batches[1], false)
			require.ErrorIs(t, err, destination.ErrReplaceOver)
			require.Equal(t, destination.Busy, failure(t, err).Kind)
			require.Positive(t, failure(t, err).RetryAfter)
			if !told {
				require.Equal(t, before, s.Counts("meta").Requests, "no request is wasted on it")
			}
			s.Advance(2 * time.Minute)
			require.NoError(t, r.Finish(t.Context()))
			add(t, c, id, rows[100:])
			holds(t, s, id, rows)
		})
	}
}

// TestReplaceFails: a replace that fails at the platform is told as such, and a new one puts it right.
func TestReplaceFails(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	batches, _ := c.Split(others(t, 100), destination.Add)
	for range 2 {
		r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
		require.NoError(t, err, "also after one that failed")
		_, err = r.Send(t.Context(), batches[0], true)
		require.NoError(t, err)
		require.NoError(t, s.Meta().FailReplace(id))
		require.Equal(t, destination.Rejected, failure(t, r.Finish(t.Context())).Kind)
		status, err := c.Audience(t.Context(), id)
		require.NoError(t, err)
		require.NotEmpty(t, status.Remedy)
	}
	r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.NoError(t, err)
	_, err = r.Send(t.Context(), batches[0], true)
	require.NoError(t, err)
	clock.advance(2 * time.Minute)
	require.NoError(t, r.Finish(t.Context()))
	holds(t, s, id, others(t, 100))
}

// TestReplaceRefused: what an audience or a platform does not allow is said before anybody is lost.
func TestReplaceRefused(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	batches, _ := c.Split(others(t, 100), destination.Add)
	_, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100_000_000})
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind)
	require.NotEmpty(t, failure(t, err).Remedy)
	_, err = c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100, Valued: true})
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind)
	empty, err := c.EnsureAudience(t.Context(), destination.AudienceSpec{Key: "empty"})
	require.NoError(t, err)
	_, err = c.BeginReplace(t.Context(), empty, destination.ReplaceSpec{Rows: 100})
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind, "status 410 is not 200")
	require.NoError(t, s.Meta().SetState(id, sandbox.StateFlagged))
	_, err = c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind)
	require.Contains(t, failure(t, err).Remedy, "flagged")
	require.NoError(t, s.Meta().SetState(id, sandbox.StateNormal))

	r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.NoError(t, err)
	for code, kind := range map[int]destination.Kind{1870144: destination.Misconfigured, 1870145: destination.Busy, 1870148: destination.Busy} {
		require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultCode, Code: 2650, Subcode: code, Path: "/usersreplace", Count: 1}))
		_, err = r.Send(t.Context(), batches[0], true)
		require.Equal(t, kind, failure(t, err).Kind)
		require.NotErrorIs(t, err, destination.ErrReplaceOver)
	}
	holds(t, s, id, people(t, 300))
	add(t, c, id, people(t, 10)) // a refused first batch leaves the audience free
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultCode, Code: 2650, Subcode: 1870147, Path: "/usersreplace", Count: 1}))
	_, err = r.Send(t.Context(), batches[0], true)
	require.ErrorIs(t, err, destination.ErrReplaceOver)
	require.Equal(t, destination.Rejected, failure(t, r.Finish(t.Context())).Kind, "begin anew")
	clock.advance(time.Minute)
}

// TestReplaceByAnother: of two replacements of one audience the second waits, also while nobody knows whether the first has begun.
func TestReplaceByAnother(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	batches, _ := c.Split(others(t, 100), destination.Add)
	first, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.NoError(t, err)
	second, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.NoError(t, err)
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Path: "/usersreplace", Count: 1}))
	_, err = first.Send(t.Context(), batches[0], true)
	require.Equal(t, destination.Transient, failure(t, err).Kind)
	_, err = second.Send(t.Context(), batches[0], true)
	require.Equal(t, destination.Busy, failure(t, err).Kind)
	_, err = first.Send(t.Context(), batches[0], true)
	require.NoError(t, err)
	clock.advance(2 * time.Minute)
	require.NoError(t, first.Finish(t.Context()))
	holds(t, s, id, others(t, 100))
}

// TestReplaceBadRows: rows refused in a replace are named as anywhere; after a lost first answer they are counted.
func TestReplaceBadRows(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	rows := others(t, 100)
	bad := hex.EncodeToString([]byte(rows[7].Identifiers[0].Value))
	for _, id := range rows[7].Identifiers {
		if id.Scheme == identity.MetaEmail {
			bad = hex.EncodeToString([]byte(id.Value))
		}
	}
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultRejectValues, Values: []string{bad}, Path: "/usersreplace"}))
	batches, _ := c.Split(rows, destination.Add)
	r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: 100})
	require.NoError(t, err)
	result, err := r.Send(t.Context(), batches[0], true)
	require.NoError(t, err)
	require.Equal(t, []destination.Rejection{{Row: 7, Reason: "refused on demand"}}, result.Rejected)
	clock.advance(2 * time.Minute)
	require.NoError(t, r.Finish(t.Context()))
	holds(t, s, id, append(rows[:7:7], rows[8:]...))
}

// TestReplaceLaw: whatever is lost or refused on the way, retrying as the contract says and adding what was not confirmed
// ends with exactly the people sent; and while the platform replaces, no other change reaches it.
func TestReplaceLaw(t *testing.T) {
	faults := []sandbox.Fault{
		{Kind: sandbox.FaultResetBefore}, {Kind: sandbox.FaultResetAfter}, {Kind: sandbox.FaultHTTP500}, {Kind: sandbox.FaultHTML400},
		{Kind: sandbox.FaultHTTP500, After: true}, {Kind: sandbox.FaultTruncatedJSON}, {Kind: sandbox.FaultEmpty200, After: true},
		{Kind: sandbox.FaultCode, Code: 2650, Subcode: 1870148}, {Kind: sandbox.FaultRateLimited}, {Kind: sandbox.FaultCode, Code: 1, Subcode: 99},
	}
	all := people(t, 600)
	rapid.Check(t, func(rt *rapid.T) {
		s, c, clock, id := startTimed(t, sandbox.Config{})
		rows := all[300 : 300+rapid.IntRange(1, 300).Draw(rt, "rows")]
		batches, _ := c.Split(rows, destination.Add)
		r, err := c.BeginReplace(t.Context(), id, destination.ReplaceSpec{Rows: int64(len(rows))})
		require.NoError(rt, err)
		var open []destination.Row // not confirmed
	sending:
		for i, b := range batches {
			for range rapid.IntRange(0, 3).Draw(rt, "faults") {
				f := rapid.SampledFrom(faults).Draw(rt, "fault")
				f.Path, f.Count = rapid.SampledFrom([]string{"/usersreplace", "/sessions", ""}).Draw(rt, "path"), 1
				require.NoError(rt, s.Inject(f))
			}
			clock.advance(time.Duration(rapid.IntRange(0, 40).Draw(rt, "minutes")) * time.Minute)
			for attempt := 0; ; attempt++ {
				require.Less(rt, attempt, 20)
				_, err := r.Send(t.Context(), b, i == len(batches)-1)
				if errors.Is(err, destination.ErrReplaceOver) {
					for _, rest := range batches[i:] {
						open = append(open, rest.Rows...)
					}
					break sending
				}
				if err == nil {
					break
				}
				require.NotEqual(rt, destination.Rejected, failure(t, err).Kind)
			}
		}
		s.ClearFaults()
		clock.advance(91 * time.Minute)
		require.NoError(rt, r.Finish(t.Context()))
		add(t, c, id, open)
		holds(t, s, id, rows)
	})
}

// TestDeletedByOthers: reading a deleted audience says no more than reading one without a role does; the account's list tells
// which it is.
func TestDeletedByOthers(t *testing.T) {
	s, c, clock, id := startTimed(t, sandbox.Config{})
	clock.advance(time.Hour)
	kind := func() destination.Kind {
		_, err := c.Audience(t.Context(), id)
		var e *destination.Error
		require.ErrorAs(t, err, &e)
		return e.Kind
	}
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultCode, Code: 100, Subcode: 33, Method: http.MethodGet, Path: id, Count: 1}))
	require.Equal(t, destination.Misconfigured, kind(), "it is in the list")
	require.NoError(t, s.Meta().SetState(id, sandbox.StateDeleted))
	require.Equal(t, destination.Gone, kind())
}
