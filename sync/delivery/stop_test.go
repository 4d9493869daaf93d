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

func stop(users ...audience.UserID) (stops []audience.Stop) {
	for _, user := range users {
		stops = append(stops, audience.Stop{User: user, Reason: "crm"})
	}
	return stops
}

// whom a request of one row or more is about.
func whom(b destination.Batch) (users []audience.UserID) {
	for _, row := range b.Rows {
		users = append(users, row.User)
	}
	return users
}

// A stop is the very next request, whatever is queued: between it and the request under way there is none.
func TestStopOvertakesWhatIsQueued(t *testing.T) {
	for name, test := range map[string]struct {
		fails func(request int) error
		at    int // the request during which the stop comes in
		next  int // the request that must be the stop's
	}{
		"between batches": {at: 3, next: 4},
		"between halves, while bad rows are looked for": {at: 4, next: 5, fails: func(request int) error {
			if request == 3 {
				return &destination.Error{Kind: destination.TooLarge, Err: errors.New("too large")}
			}
			return nil
		}},
		"before a request is repeated": {at: 3, next: 4, fails: func(request int) error {
			if request == 3 {
				return &destination.Error{Kind: destination.Transient, Err: errors.New("no answer")}
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.platform.rows = 10
				w.want(10, "a")
				_, err := w.sync("1")
				require.NoError(t, err)
				w.platform.requests = nil

				w.want(1000, "a")
				d := w.deliverer()
				queued, sent, being := audience.UserID("u000900"), audience.UserID("u000005"), audience.UserID("u000031")
				w.platform.fails = func(destination.Batch) error {
					request := len(w.platform.requests)
					if request == test.at {
						require.NoError(t, d.Stop(t.Context(), stop(queued, sent, being)))
					}
					if test.fails != nil {
						return test.fails(request)
					}
					return nil
				}
				_, err = d.Sync(t.Context(), "vip", "2", true, progress)
				require.NoError(t, err)
				next := w.platform.requests[test.next-1]
				require.Equal(t, destination.Remove, next.Op)
				require.Contains(t, whom(next), sent)
				for _, b := range w.platform.requests[test.next:] {
					require.Equal(t, destination.Add, b.Op)
					for _, user := range []audience.UserID{queued, sent, being} {
						require.NotContains(t, whom(b), user)
					}
				}
				require.Empty(t, w.platform.violated)
				w.requireLaw(t)
			})
		})
	}
}

// A stop does not wait for the next page to be read, and whom it concerns is not in it.
func TestStopLeavesWhileAPageIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.want(30, "a")
		_, err := w.sync("1")
		require.NoError(t, err)
		w.want(60, "a")
		w.pageUsers, w.platform.requests = 10, nil
		d := w.deliverer()
		reads := 0
		w.onRead = func() {
			if reads++; reads == 3 { // after the plan's and one page of adds
				before := len(w.platform.requests)
				require.NoError(t, d.Stop(t.Context(), stop(nth(3), nth(45))))
				synctest.Wait() // until the stop has left
				require.Equal(t, []audience.UserID{nth(3)}, whom(w.platform.requests[before]))
			}
		}
		_, err = d.Sync(t.Context(), "vip", "2", true, progress)
		require.NoError(t, err)
		require.Empty(t, w.platform.violated)
		w.requireLaw(t)
	})
}

// What the platform refuses of a stop is not laid at the door of the request that the stop has overtaken.
func TestAStopsTroubleIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.platform.rows = 1
		w.want(1, "a")
		_, err := w.sync("1")
		require.NoError(t, err)
		w.want(3, "a")
		w.platform.locked = true
		d := w.deliverer()
		adds := 0
		w.platform.fails = func(b destination.Batch) error {
			if b.Op == destination.Remove {
				return &destination.Error{Kind: destination.Rejected, Err: errors.New("no")}
			}
			if adds++; adds == 1 {
				require.NoError(t, d.Stop(t.Context(), stop(nth(0))))
				return &destination.Error{Kind: destination.Transient, Err: errors.New("no answer")}
			}
			return nil
		}
		_, err = d.Sync(t.Context(), "vip", "2", true, progress)
		require.Error(t, err)
		require.Equal(t, audience.DeliverySending, w.ledger[nth(1)].State)
		require.True(t, w.ledger[nth(0)].State.MayHold())
	})
}

// Stops are the first removals of a sync, and leave although the rest of the plan is held.
func TestStopsGoFirstAndAreNeverHeld(t *testing.T) {
	for name, approved := range map[string]bool{"held": false, "approved": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.audience.MaxRemovalShare = 0.3
			if !approved {
				w.held = audience.HeldPlan{}
			}
			w.want(40, "a")
			_, err := w.sync("1")
			require.NoError(t, err)
			w.platform.requests = nil
			for i := range 20 {
				delete(w.wanted, audience.UserID(fmt.Sprintf("u%06d", i)))
			}
			w.stopped["u000030"], w.stopped["u000031"] = "no_consent", "no_consent"
			delete(w.wanted, "u000030")
			delete(w.wanted, "u000031")

			report, err := w.deliverer().Sync(t.Context(), "vip", "2", approved, progress)
			require.NoError(t, err)
			require.Equal(t, !approved, report.Held)
			require.Equal(t, int64(2), report.Plan.Stops)
			require.Equal(t, []audience.UserID{"u000030", "u000031"}, whom(w.platform.requests[0]))
			if approved {
				require.Equal(t, delivery.Outcome{Planned: 22, Confirmed: 22}, report.Removals)
				w.requireLaw(t)
				return
			}
			require.Len(t, w.platform.requests, 1)
			require.Equal(t, delivery.Outcome{Planned: 22, Confirmed: 2, NotTried: 20}, report.Removals)
		})
	}
}

// Withdrawals alone, however many, never hold a plan.
func TestStopsAreNoReasonToHold(t *testing.T) {
	w := newWorld()
	w.audience.MaxRemovalShare, w.held = 0.3, audience.HeldPlan{}
	w.want(40, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	for i := range 30 {
		u := audience.UserID(fmt.Sprintf("u%06d", i))
		delete(w.wanted, u)
		w.stopped[u] = "no_consent"
	}
	report, err := w.deliverer().Sync(t.Context(), "vip", "2", false, progress)
	require.NoError(t, err)
	require.False(t, report.Held)
	w.requireLaw(t)
}

// Without a sync, Run sends stops: those that come in, those an earlier process left, those the platform did not take at
// first, and of a disabled audience, too.
func TestStopsWithoutASync(t *testing.T) {
	for name, test := range map[string]struct {
		before, disabled bool
		fails            int
	}{
		"come in": {}, "left by an earlier process": {before: true}, "disabled": {disabled: true}, "again": {fails: 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.want(12, "a")
				_, err := w.sync("1")
				require.NoError(t, err)
				w.audience.Disabled = test.disabled
				w.platform.requests = nil
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) <= test.fails {
						return &destination.Error{Kind: destination.Transient, Err: errors.New("no answer")}
					}
					return nil
				}
				d := w.deliverer()
				if test.before {
					require.NoError(t, d.Stop(t.Context(), stop("u000003", "u000007")))
					d = w.deliverer()
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- d.Run(ctx) }()
				synctest.Wait()
				if !test.before {
					require.NoError(t, d.Stop(t.Context(), stop("u000003", "u000007")))
				}
				time.Sleep(10 * time.Minute)
				cancel()
				require.NoError(t, <-ended)
				require.Equal(t, []audience.UserID{"u000003", "u000007"}, whom(w.platform.requests[len(w.platform.requests)-1]))
				require.Len(t, w.platform.held, 10)
				require.Equal(t, audience.DeliveryRemoved, w.ledger["u000003"].State)
				require.Empty(t, w.platform.violated)
			})
		})
	}
}

// Whom another audience of the exclusive group has got hold of since the page was read is not added.
func TestExclusiveGroup(t *testing.T) {
	w := newWorld()
	w.audience.ExclusiveGroup = "stage"
	w.others = []audience.Audience{{Meta: audience.Meta{Number: 9}, ID: "other", ExclusiveGroup: "stage"}, {ID: "alien"}}
	w.want(20, "a")
	w.platform.fails = func(destination.Batch) error {
		w.elsewhere = map[audience.UserID]bool{"u000002": true, "u000013": true}
		return nil
	}
	_, err := w.sync("1")
	require.NoError(t, err)
	require.Equal(t, []audience.Number{9}, w.rivals)
	require.Len(t, w.platform.held, 19, "the first request was under way already")
	require.Empty(t, w.ledger["u000013"].State)
	w.elsewhere = nil
	_, err = w.sync("2")
	require.NoError(t, err)
	w.requireLaw(t)
}
