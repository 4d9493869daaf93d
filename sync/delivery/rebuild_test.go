package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

func nth(i int) audience.UserID { return audience.UserID(fmt.Sprintf("u%06d", i)) }

// ops are the operations of requests, with their sizes.
func ops(requests []destination.Batch) (ops []string) {
	for _, b := range requests {
		ops = append(ops, fmt.Sprintf("%s %d", b.Op, len(b.Rows)))
	}
	return ops
}

// rebuilt is a world of 60 members who are all held, of whom 20 leave while 40 others change their e-mail and 20 come.
func rebuilt(t *testing.T, way destination.Way) *world {
	w := newWorld()
	w.platform.rows, w.pageUsers, w.way = 10, 25, way
	w.audience.Static = way == destination.ByFile
	w.want(60, "a")
	_, err := w.sync("1")
	require.NoError(t, err)
	w.requireLaw(t)
	w.platform.requests = nil
	time.Sleep(filesLock)
	for i := range 20 {
		delete(w.wanted, nth(i))
	}
	for i := 20; i < 80; i++ {
		version := "b"
		if i%2 == 0 && i < 60 {
			version = "a" // stays as he is
		}
		w.wanted[nth(i)] = []audience.Identifier{{Scheme: emails, Value: fmt.Sprintf("%s/%s", nth(i), version)}}
	}
	return w
}

// Progress counts users, by whatever way they go and however many identifiers they have.
func TestProgressCountsUsers(t *testing.T) {
	for _, way := range []destination.Way{destination.ByDiff, destination.ByReplace, destination.ByFile} {
		t.Run(string(way), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.platform.rows, w.pageUsers, w.way, w.audience.Static = 10, 25, way, way == destination.ByFile
				w.want(60, "a")
				for i := range 60 {
					w.wanted[nth(i)] = append(w.wanted[nth(i)], audience.Identifier{Scheme: phones, Value: fmt.Sprint(i)})
				}
				var last int64
				_, err := w.deliverer().Sync(t.Context(), "vip", "1", true, func(_ string, done, total int64) {
					require.LessOrEqual(t, done, total)
					last = done
				})
				require.NoError(t, err)
				require.Equal(t, int64(60), last)
			})
		})
	}
}

// By whatever way, the same plan comes to the same end and the same counts; all that differs is how many requests it takes.
func TestEveryWayEndsAlike(t *testing.T) {
	for way, sent := range map[destination.Way][]string{
		destination.ByDiff:    {"remove 10", "remove 10", "remove 5", "remove 10", "remove 5", "add 10", "add 10", "add 5", "add 10", "add 5"},
		destination.ByReplace: {"add 10", "add 10", "add 5", "add 10", "add 10", "add 5", "add 10"},
		destination.ByFile:    {"add 24", "add 24", "add 12"},
	} {
		t.Run(string(way), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := rebuilt(t, way)
				report, err := w.sync("2")
				require.NoError(t, err)
				require.Equal(t, string(way), report.Plan.Way)
				require.NotEmpty(t, report.Plan.WayReason)
				require.Equal(t, delivery.Outcome{Planned: 20, Confirmed: 20}, report.Removals)
				require.Equal(t, delivery.Outcome{Planned: 20, Confirmed: 20}, report.Changes)
				require.Equal(t, delivery.Outcome{Planned: 20, Confirmed: 20}, report.Additions)
				if way != destination.ByDiff {
					require.Equal(t, delivery.Outcome{Planned: 20, Confirmed: 20}, report.Restored)
				}
				requireSums(t, report, true)
				require.Empty(t, w.platform.violated)
				w.requireLaw(t)
				if way != destination.ByDiff {
					require.Equal(t, sent, ops(w.platform.requests))
				}
				report, err = w.sync("3")
				require.NoError(t, err)
				require.Zero(t, report.Requests, "nothing is left")
			})
		})
	}
}

// A stop that comes while an audience is replaced: of somebody sent already it ends the replacement with the next batch, and
// is the first request after it; the others are added after that. Of somebody not sent yet it takes nothing but leaving him
// out. Either way he is not sent again.
func TestStopWithinAReplacement(t *testing.T) {
	for name, test := range map[string]struct {
		stopped int
		ops     []string
	}{
		"sent already":  {21, []string{"add 10", "add 10", "add 5", "remove 1", "add 10", "add 10", "add 5", "add 10"}},
		"not sent yet":  {79, []string{"add 10", "add 10", "add 5", "add 10", "add 10", "add 10", "add 4"}},
		"of the others": {5, []string{"add 10", "add 10", "add 5", "add 10", "add 10", "add 10", "add 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := rebuilt(t, destination.ByReplace)
				d := w.deliverer()
				w.platform.fails = func(destination.Batch) error {
					if len(w.platform.requests) == 2 {
						require.NoError(t, d.Stop(context.Background(), stop(nth(test.stopped))))
					}
					return nil
				}
				_, err := d.Sync(context.Background(), "vip", "2", true, progress)
				require.NoError(t, err)
				got := ops(w.platform.requests)
				require.Equal(t, test.ops[:4], got[:4])
				require.Len(t, got, len(test.ops))
				for _, b := range w.platform.requests[2:] {
					require.False(t, b.Op == destination.Add && len(b.Rows) > 0 && contains(b, nth(test.stopped)))
				}
				require.Empty(t, w.platform.violated)
				w.requireLaw(t)
			})
		})
	}
}

func contains(b destination.Batch, user audience.UserID) bool {
	for _, other := range whom(b) {
		if other == user {
			return true
		}
	}
	return false
}

// Whom a stop takes along, because they share an identifier, is restored by the very next request, whatever is queued, and
// also while no sync is under way.
func TestSharersAreRestoredAtOnce(t *testing.T) {
	family := audience.Identifier{Scheme: phones, Value: "family"}
	begin := func(t *testing.T) *world {
		w := newWorld()
		w.platform.rows, w.platform.together = 10, true
		for _, u := range []audience.UserID{"ann", "bob"} {
			w.wanted[u] = []audience.Identifier{{Scheme: emails, Value: string(u)}, family}
		}
		_, err := w.sync("1")
		require.NoError(t, err)
		w.platform.requests = nil
		return w
	}
	requireRestored := func(t *testing.T, w *world, at int) {
		require.Equal(t, []audience.UserID{"ann"}, whom(w.platform.requests[at]))
		require.Equal(t, destination.Remove, w.platform.requests[at].Op)
		require.Equal(t, []audience.UserID{"bob"}, whom(w.platform.requests[at+1]))
		require.Equal(t, destination.Add, w.platform.requests[at+1].Op)
		require.Equal(t, audience.DeliveryDelivered, w.ledger["bob"].State)
		require.Empty(t, w.platform.violated)
	}
	t.Run("within a sync", func(t *testing.T) {
		w := begin(t)
		w.want(1000, "a")
		d := w.deliverer()
		w.platform.fails = func(destination.Batch) error {
			if len(w.platform.requests) == 3 {
				require.NoError(t, d.Stop(t.Context(), stop("ann")))
			}
			return nil
		}
		report, err := d.Sync(t.Context(), "vip", "2", true, progress)
		require.NoError(t, err)
		requireRestored(t, w, 3)
		require.Equal(t, delivery.Outcome{Planned: 1, Confirmed: 1}, report.Restored)
		w.requireLaw(t)
	})
	for name, faults := range map[string]int{"without a sync": 0, "without a sync, at the second attempt": 7} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t)
				d := w.deliverer()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- d.Run(ctx) }()
				synctest.Wait()
				failed := 0
				w.platform.fails = func(b destination.Batch) error {
					if b.Op == destination.Add && failed < faults { // the restoring fails for longer than one request is repeated
						failed++
						return &destination.Error{Kind: destination.Transient, Err: context.DeadlineExceeded}
					}
					return nil
				}
				require.NoError(t, d.Stop(t.Context(), stop("ann")))
				time.Sleep(20 * time.Minute)
				cancel()
				require.NoError(t, <-ended)
				require.Equal(t, []audience.UserID{"ann"}, whom(w.platform.requests[0]))
				require.Equal(t, audience.DeliveryDelivered, w.ledger["bob"].State)
				if faults == 0 {
					requireRestored(t, w, 0)
				}
				w.requireLaw(t)
			})
		})
	}
}

// Files that the platform took and could not take in: the sync that finds out says so, the next sends all of them again.
func TestFilesThatWereNotTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := rebuilt(t, destination.ByFile)
		_, err := w.sync("2")
		require.NoError(t, err)
		time.Sleep(filesLock)
		clear(w.platform.held)
		w.platform.blocked = true
		_, err = w.sync("3")
		var failure *destination.Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, destination.Misconfigured, failure.Kind)
		require.ErrorContains(t, err, "could not be taken in")
		report, err := w.sync("4")
		require.NoError(t, err)
		require.Equal(t, delivery.Outcome{Planned: 60, Confirmed: 60}, report.Additions)
		w.requireLaw(t)
	})
}

// A segment that empties while its audience is rebuilt loses no more members than were planned to leave.
func TestNoMoreIsLeftOutThanWasPlanned(t *testing.T) {
	for _, way := range []destination.Way{destination.ByReplace, destination.ByFile} {
		t.Run(string(way), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := rebuilt(t, way)
				_, err := w.deliverer().Sync(t.Context(), "vip", "2", true, func(stage string, _, _ int64) {
					if stage == "writing down whom the audience will hold" {
						clear(w.wanted)
					}
				})
				require.NoError(t, err)
				require.Len(t, w.platform.held, 40)
			})
		})
	}
}
