package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// want gives n users one e-mail each.
func (w *world) want(n int, version string) {
	for i := range n {
		u := audience.UserID(fmt.Sprintf("u%06d", i))
		w.wanted[u] = []audience.Identifier{{Scheme: emails, Value: fmt.Sprintf("%s/%s", u, version)}}
	}
}

// spoil makes a user's identifier one the platform refuses.
func (w *world) spoil(users ...int) {
	for _, i := range users {
		u := audience.UserID(fmt.Sprintf("u%06d", i))
		w.wanted[u] = []audience.Identifier{{Scheme: emails, Value: "bad " + string(u) + "/x"}}
	}
}

func (w *world) sync(run audience.RunID) (delivery.Report, error) {
	return w.deliverer().Sync(context.Background(), "vip", run, true, progress)
}

func TestRemovalsGoFirst(t *testing.T) {
	w := newWorld()
	w.want(3, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	delete(w.wanted, "u000000")
	w.want(7, "b") // three with other identifiers, four new ones
	delete(w.wanted, "u000000")
	w.platform.requests = nil
	report, err := w.sync("2")
	require.NoError(t, err)
	var ops []destination.Op
	for _, b := range w.platform.requests {
		ops = append(ops, b.Op)
	}
	require.Equal(t, []destination.Op{destination.Remove, destination.Add, destination.Add}, ops)
	require.Equal(t, delivery.Outcome{Planned: 1, Confirmed: 1}, report.Removals)
	require.Equal(t, delivery.Outcome{Planned: 2, Confirmed: 2}, report.Changes)
	require.Equal(t, delivery.Outcome{Planned: 4, Confirmed: 4}, report.Additions)
	require.Equal(t, int64(3), report.Requests)
	require.Equal(t, report.Requests, report.Plan.Requests)
	w.requireLaw(t)
}

func TestPlanHasNoSideEffects(t *testing.T) {
	w := newWorld()
	w.want(12, "a")
	w.stopped["x"], w.stopped["y"], w.stopped["z"] = "no_consent", "no_consent", "unidentifiable"
	w.platform.rate = 2
	for range 2 {
		p, err := w.deliverer().Plan(t.Context(), "vip")
		require.NoError(t, err)
		require.Equal(t, int64(12), p.Additions)
		require.Equal(t, int64(15), p.Members)
		require.Equal(t, map[string]int64{"no_consent": 2, "unidentifiable": 1}, p.Suppressed)
		require.Equal(t, int64(3), p.Requests)
		require.Equal(t, 1500*time.Millisecond, p.Duration)
	}
	require.Empty(t, w.ledger)
	require.Empty(t, w.platform.requests)
	require.Empty(t, w.platform.id)
}

// A segment that empties while its sync is under way loses no more members than were planned to leave.
func TestNoMoreIsRemovedThanWasPlanned(t *testing.T) {
	w := newWorld()
	w.want(20, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	delete(w.wanted, "u000010")
	w.want(21, "a")
	delete(w.wanted, "u000010")
	w.audience.PlatformID = "" // so that something happens between planning and removing
	report, err := w.deliverer().Sync(t.Context(), "vip", "2", false, func(stage string, _, _ int64) {
		if stage == "creating the audience" {
			clear(w.wanted)
		}
	})
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 1, Confirmed: 1}, report.Removals)
	require.Len(t, w.platform.held, 19)
}

func TestBadRowsCostNobodyElse(t *testing.T) {
	for name, refuse := range map[string]refusal{"by name": byName, "by count": byCount, "as a whole": whole} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.platform.rows, w.platform.refuse = 1000, refuse
			w.want(1000, "a")
			w.spoil(0, 1, 500, 999)
			report, err := w.sync("1")
			require.NoError(t, err)
			require.Equal(t, delivery.Outcome{Planned: 1000, Confirmed: 996, Rejected: 4}, report.Additions)
			require.LessOrEqual(t, report.Requests, int64(1+4*2*10))
			w.requireLaw(t)

			report, err = w.sync("2")
			require.NoError(t, err)
			require.Zero(t, report.Requests, "the rejected are not tried again")
			require.Equal(t, int64(4), report.Plan.Suppressed["rejected_before"])
		})
	}
}

// More bad rows than one sync may look for: some users stay unknown, and whose removal is not confirmed is not added
// under other identifiers. The syncs that follow settle all of them.
func TestIsolationIsBounded(t *testing.T) {
	for name, refuse := range map[string]refusal{"by count": byCount, "as a whole": whole} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.platform.rows, w.platform.refuse = 1000, refuse
			unknown := 0
			for _, version := range []string{"a", "b", "c"} {
				w.want(1000, version)
				if version == "b" {
					for i := range 100 {
						w.spoil(10 * i)
					}
				}
				for more := true; more; {
					report, err := w.sync(audience.RunID(fmt.Sprint(version, unknown)))
					require.NoError(t, err)
					require.Empty(t, w.platform.violated)
					requireSums(t, report, true)
					require.LessOrEqual(t, report.Requests, int64(2*(1+8*2*10)))
					more = report.Additions.Unknown+report.Changes.Unknown > 0 && version != "b"
					if report.Additions.Unknown+report.Changes.Unknown > 0 {
						unknown++
					}
					require.Less(t, unknown, 20)
				}
			}
			require.Greater(t, unknown, 1)
			w.requireLaw(t)
		})
	}
}

func TestAudienceAtFaultRejectsNobody(t *testing.T) {
	for name, test := range map[string]struct {
		users    int
		locked   bool
		requests int64
	}{
		"many rows":                       {users: 100, requests: 30},
		"few rows, and the audience says": {users: 3, locked: true, requests: 5},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.platform.rows, w.platform.locked = 100, test.locked
			w.want(test.users, "a")
			w.platform.fails = func(destination.Batch) error {
				return &destination.Error{Kind: destination.Rejected, Code: "40002", Err: errors.New("not editable")}
			}
			report, err := w.sync("1")
			var failure *destination.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, destination.OfAudience, failure.Scope)
			require.NotEmpty(t, failure.Remedy)
			require.Zero(t, report.Additions.Rejected)
			require.Equal(t, int64(test.users), report.Additions.Unknown)
			require.LessOrEqual(t, report.Requests, test.requests)

			w.platform.fails, w.platform.locked = nil, false
			_, err = w.sync("2")
			require.NoError(t, err)
			w.requireLaw(t)
		})
	}
}

// What needs a person ends the sync at once. The users of the request stay in doubt and are sent again.
func TestLastingFaultsStop(t *testing.T) {
	for _, kind := range []destination.Kind{destination.Unauthorized, destination.Misconfigured, destination.Gone} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(12, "a")
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) < 2 {
						return nil
					}
					return &destination.Error{Kind: kind, Remedy: "ask a person", Err: errors.New("no")}
				}
				report, err := w.sync("1")
				var failure *destination.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, kind, failure.Kind)
				require.ErrorContains(t, err, "ask a person")
				require.Equal(t, delivery.Outcome{Planned: 12, Confirmed: 5, Unknown: 5, NotTried: 2}, report.Additions)
				require.Equal(t, audience.DeliverySending, w.ledger["u000009"].State)
				require.Empty(t, w.ledger["u000010"].State)

				w.platform.fails = nil
				report, err = w.sync("2")
				require.NoError(t, err)
				require.Equal(t, delivery.Outcome{Planned: 7, Confirmed: 7}, report.Additions)
				require.Equal(t, int64(5), report.Plan.Resends)
				w.requireLaw(t)
			})
		})
	}
}

// A platform that takes no removals now gets the adds all the same, but not those of users it still holds.
func TestRemovalsRefusedForNow(t *testing.T) {
	w := newWorld()
	w.want(4, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	w.want(6, "a")
	delete(w.wanted, "u000000")
	w.wanted["u000001"] = []audience.Identifier{{Scheme: emails, Value: "u000001/b"}}
	w.platform.fails = func(b destination.Batch) error {
		if b.Op == destination.Remove {
			return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: 24 * time.Hour, Err: errors.New("too small")}
		}
		return nil
	}
	report, err := w.sync("2")
	require.ErrorContains(t, err, "too small")
	require.Equal(t, delivery.Outcome{Planned: 2, Confirmed: 2}, report.Additions)
	require.Equal(t, delivery.Outcome{Planned: 1, Unknown: 1}, report.Removals)
	require.Equal(t, delivery.Outcome{Planned: 1, Unknown: 1}, report.Changes)
	w.platform.fails = nil
	_, err = w.sync("3")
	require.NoError(t, err)
	w.requireLaw(t)
}

func TestPassingFaultsAreWaitedOut(t *testing.T) {
	slow := func(kind destination.Kind, scope destination.Scope, after time.Duration) *destination.Error {
		return &destination.Error{Kind: kind, Scope: scope, RetryAfter: after, Err: errors.New("later")}
	}
	for name, test := range map[string]struct {
		fault       *destination.Error
		times       int // the request fails before it succeeds
		requests    int64
		least, most time.Duration
		fails       bool
	}{
		"back-off":                     {fault: slow(destination.Transient, destination.OfRequest, 0), times: 5, requests: 6, most: 31 * time.Second},
		"given up":                     {fault: slow(destination.Transient, destination.OfRequest, 0), times: 6, requests: 6, most: 31 * time.Second, fails: true},
		"the platform's wait":          {fault: slow(destination.Busy, destination.OfAudience, time.Minute), times: 2, requests: 3, least: 2 * time.Minute, most: 2 * time.Minute},
		"the account's wait":           {fault: slow(destination.RateLimited, destination.OfAccount, 5*time.Minute), times: 2, requests: 3, least: 10 * time.Minute, most: 10 * time.Minute},
		"a wait beyond patience":       {fault: slow(destination.RateLimited, destination.OfApp, time.Hour), times: 1, requests: 1, fails: true},
		"waits that together are long": {fault: slow(destination.Busy, destination.OfAudience, 6*time.Minute), times: 3, requests: 3, least: 12 * time.Minute, most: 12 * time.Minute, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(1, "a")
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) <= test.times {
						return test.fault
					}
					return nil
				}
				begun := time.Now()
				report, err := w.sync("1")
				require.Equal(t, test.fails, err != nil, err)
				require.Equal(t, test.requests, report.Requests)
				require.GreaterOrEqual(t, time.Since(begun), test.least)
				require.LessOrEqual(t, time.Since(begun), test.most)
			})
		})
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.platform.rows, w.platform.rate = 1, 4
		w.want(21, "a")
		begun := time.Now()
		_, err := w.sync("1")
		require.NoError(t, err)
		require.InDelta(t, (5 * time.Second).Seconds(), time.Since(begun).Seconds(), 0.26, "21 requests at 4/s, after the one that creates the audience")
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.want(1, "a")
		w.platform.fails = func(destination.Batch) error {
			return &destination.Error{Kind: destination.Busy, RetryAfter: time.Minute, Err: errors.New("later")}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun := time.Now()
		report, err := w.deliverer().Sync(ctx, "vip", "1", true, progress)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(begun))
		require.Equal(t, delivery.Outcome{Planned: 1, Unknown: 1}, report.Additions)
	})
}

func TestOneSyncAnAudience(t *testing.T) {
	w := newWorld()
	w.want(1, "a")
	d := w.deliverer()
	w.platform.fails = func(destination.Batch) error {
		_, err := d.Sync(t.Context(), "vip", "2", true, progress)
		require.ErrorIs(t, err, audience.ErrConflict)
		return nil
	}
	_, err := d.Sync(t.Context(), "vip", "1", true, progress)
	require.NoError(t, err)
}

func TestDisabledAudience(t *testing.T) {
	w := newWorld()
	w.want(1, "a")
	w.audience.Disabled = true
	_, err := w.sync("1")
	require.ErrorIs(t, err, audience.ErrPrecondition)
	require.Empty(t, w.ledger)
}

func TestUnsendableIsRejected(t *testing.T) {
	w := newWorld()
	w.want(2, "a")
	w.wanted["unsendable"] = []audience.Identifier{{Scheme: emails, Value: "unsendable/a"}}
	report, err := w.sync("1")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 3, Confirmed: 2, Rejected: 1}, report.Additions)
	require.Equal(t, map[string]int64{"nothing to send": 1}, report.Rejected)
	require.Equal(t, audience.DeliveryRejected, w.ledger["unsendable"].State)
}

// Part of a user's identifiers refused: delivered by the others, not sent again, removed in one go.
func TestPartlyRefused(t *testing.T) {
	w := newWorld()
	good, refused := audience.Identifier{Scheme: emails, Value: "u/a"}, audience.Identifier{Scheme: phones, Value: "bad u/a"}
	w.wanted["u"] = []audience.Identifier{good, refused}
	w.want(3, "a")
	w.spoil(1, 2)
	report, err := w.sync("1")
	require.NoError(t, err)
	require.Equal(t, audience.DeliveryDelivered, w.ledger["u"].State)
	require.Equal(t, "malformed", w.ledger["u"].Reason)
	require.Equal(t, []string{"2 users rejected: malformed", "1 users confirmed, but some of their identifiers rejected: malformed"}, report.Notes())
	report, err = w.sync("2")
	require.NoError(t, err)
	require.Zero(t, report.Requests)
	require.Len(t, report.Notes(), 1)
	require.Contains(t, report.Notes()[0], "2 users not sent again")
	delete(w.wanted, "u")
	_, err = w.sync("3")
	require.NoError(t, err)
	require.Equal(t, audience.DeliveryRemoved, w.ledger["u"].State)
	w.requireLaw(t)
}

func TestMoreUsersThanAPage(t *testing.T) {
	w := newWorld()
	w.platform.rows, w.platform.refuse, w.pageUsers = 100, byCount, 250
	w.want(1100, "a")
	for i := range 100 { // more than one batch may isolate, in the first page
		w.spoil(i)
	}
	p, err := w.deliverer().Plan(t.Context(), "vip")
	require.NoError(t, err)
	require.Equal(t, int64(13), p.Requests)
	report, err := w.sync("1")
	require.NoError(t, err)
	require.Equal(t, delivery.Outcome{Planned: 1100, Confirmed: 1000, Rejected: report.Additions.Rejected, Unknown: 100 - report.Additions.Rejected}, report.Additions)
	require.Positive(t, report.Additions.Unknown)
	clear(w.wanted)
	_, err = w.sync("2")
	require.NoError(t, err)
	require.Empty(t, w.platform.held)
}
