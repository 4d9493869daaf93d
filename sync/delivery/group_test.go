package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// town is several worlds, one for each audience of an exclusive group, in one process that syncs them at once. Whom one
// holds, or may hold, the others do not want.
type town struct {
	mu     sync.Mutex
	worlds map[audience.AudienceID]*world
	shared string // the first time two held the same user
}

func newTown(ids ...audience.AudienceID) *town {
	t := &town{worlds: map[audience.AudienceID]*world{}}
	for i, id := range ids {
		w := newWorld()
		w.audience = audience.Audience{Meta: audience.Meta{Number: audience.Number(4 + i)}, ID: id, Segment: "vip", Destination: audience.DestinationID(id),
			MaxRemovalShare: 1, ExclusiveGroup: "stage"}
		w.rival = func(user audience.UserID) bool {
			for _, other := range t.worlds {
				if other != w && other.ledger[user].State.MayHold() {
					return true
				}
			}
			return false
		}
		t.worlds[id] = w
	}
	return t
}

func (t *town) of(number audience.Number) *world {
	for _, w := range t.worlds {
		if w.audience.Number == number {
			return w
		}
	}
	panic("no such ledger")
}

// locked does one thing in one world.
func locked[T any](t *town, do func() (T, error)) (T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return do()
}

// listed reads a whole sequence at once, so that its reader may do other things between two rows.
func listed[T any](t *town, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var all []T
		_, failure := locked(t, func() (none struct{}, err error) {
			for row, err := range rows {
				if err != nil {
					return none, err
				}
				all = append(all, row)
			}
			return none, nil
		})
		for _, row := range all {
			if !yield(row, nil) {
				return
			}
		}
		if failure != nil {
			var none T
			yield(none, failure)
		}
	}
}

func (t *town) Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error) {
	return locked(t, func() (audience.Audience, error) { return t.worlds[id].Audience(ctx, id) })
}

func (t *town) Audiences(context.Context) ([]audience.Audience, error) {
	return locked(t, func() (all []audience.Audience, err error) {
		for _, w := range t.worlds {
			all = append(all, w.audience)
		}
		return all, nil
	})
}

func (t *town) Segment(_ context.Context, id audience.SegmentID) (audience.Segment, error) {
	return audience.Segment{ID: id}, nil
}

func (t *town) Destination(_ context.Context, id audience.DestinationID) (audience.Destination, error) {
	return audience.Destination{ID: id, Account: string(id)}, nil
}

func (t *town) SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string, files bool, version uint64) error {
	_, err := locked(t, func() (none struct{}, err error) {
		return none, t.worlds[id].SetPlatformID(ctx, id, platformID, files, version)
	})
	return err
}

func (t *town) SyncRows(ctx context.Context, s audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	return listed(t, t.of(s.Audience).SyncRows(ctx, s, within))
}

func (t *town) SyncTotals(ctx context.Context, s audience.SyncScope) (audience.SyncTotals, error) {
	return locked(t, func() (audience.SyncTotals, error) { return t.of(s.Audience).SyncTotals(ctx, s) })
}

func (t *town) Deliveries(ctx context.Context, n audience.Number) iter.Seq2[audience.Delivery, error] {
	return listed(t, t.of(n).Deliveries(ctx, n))
}

func (t *town) Sharers(ctx context.Context, n audience.Number, ids []audience.Identifier) iter.Seq2[audience.Delivery, error] {
	return listed(t, t.of(n).Sharers(ctx, n, ids))
}

func (t *town) HeldBy(_ context.Context, ledgers []audience.Number, users []audience.UserID) ([]audience.UserID, error) {
	return locked(t, func() (held []audience.UserID, err error) {
		for _, user := range users {
			if slices.ContainsFunc(ledgers, func(n audience.Number) bool { return t.of(n).ledger[user].State.MayHold() }) {
				held = append(held, user)
			}
		}
		return held, nil
	})
}

func (t *town) Source(context.Context, time.Time) (audience.Source, error) {
	return audience.Source{}, nil
}

func (t *town) PastSyncs(context.Context, audience.Number, time.Time) ([]audience.SyncRecord, error) {
	return nil, nil
}

func (t *town) RecordSync(context.Context, audience.Number, audience.SyncRecord) error { return nil }

func (t *town) HeldPlan(_ context.Context, n audience.Number) (audience.HeldPlan, error) {
	return t.of(n).held, nil
}

func (t *town) PutHeldPlan(context.Context, audience.Number, audience.HeldPlan) error { return nil }

func (t *town) RecordStops(context.Context, []audience.Stop) error { return nil }

func (t *town) RecordDoubts(context.Context, audience.Number, []audience.Delivery) error { return nil }

func (t *town) DoubtIntents(context.Context, audience.Number, uint64, time.Duration) error {
	return nil
}

func (t *town) MayBeAddedLate(context.Context, audience.Number, audience.UserID) (bool, error) {
	return false, nil
}

func (t *town) SettleDoubts(context.Context, audience.Number, uint64) error { return nil }

func (t *town) RecordDeliveries(ctx context.Context, n audience.Number, rows []audience.Delivery) error {
	_, err := locked(t, func() (none struct{}, err error) { return none, t.of(n).RecordDeliveries(ctx, n, rows) })
	return err
}

// house is one world's platform, seen from the town.
type house struct {
	connection
	town *town
}

func (h house) Apply(ctx context.Context, id string, b destination.Batch) (destination.Result, error) {
	return locked(h.town, func() (destination.Result, error) {
		defer h.town.look()
		return h.connection.Apply(ctx, id, b)
	})
}

func (h house) BeginReplace(ctx context.Context, id string, spec destination.ReplaceSpec) (destination.Replacement, error) {
	return locked(h.town, func() (destination.Replacement, error) {
		r, err := h.connection.BeginReplace(ctx, id, spec)
		return lockedReplacement{r, h.town}, err
	})
}

type lockedReplacement struct {
	destination.Replacement
	town *town
}

func (r lockedReplacement) Send(ctx context.Context, b destination.Batch, last bool) (destination.Result, error) {
	return locked(r.town, func() (destination.Result, error) {
		defer r.town.look()
		return r.Replacement.Send(ctx, b, last)
	})
}

// look finds a user whom two platforms hold now.
func (t *town) look() {
	holder := map[string]audience.AudienceID{}
	for id, w := range t.worlds {
		for _, held := range w.platform.held {
			for _, identifier := range held {
				if other, ok := holder[identifier.Value]; ok && other != id && t.shared == "" {
					t.shared = fmt.Sprintf("%s is held by %s and %s", identifier.Value, other, id)
				}
				holder[identifier.Value] = id
			}
		}
	}
}

// The law of exclusive groups: whatever way audiences are loaded, whatever fails, and whenever the process dies, no two
// platforms hold the same user at any instant; and in the end whoever is wanted by some is held by one of them.
func TestNoTwoOfAGroupHoldAUser(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		city := newTown("one", "two")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		users := rapid.IntRange(1, 15).Draw(r, "users")
		rounds := rapid.IntRange(1, 5).Draw(r, "rounds")
		for _, id := range []audience.AudienceID{"one", "two"} {
			w := city.worlds[id]
			w.platform.random, w.platform.rows, w.platform.together = rand.New(rand.NewPCG(random.Uint64(), 0)), 3, true
			w.platform.faults = rapid.SampledFrom([]float64{0, 0.2}).Draw(r, "faults")
		}
		replace := rapid.Bool().Draw(r, "replace")
		inBubble(t, func() {
			for round := range rounds + 4 {
				last := round >= rounds
				if !last {
					for i := range users {
						city.move(random, nth(i), round)
					}
				}
				d := delivery.New(delivery.Deps{Ledger: city, Catalogue: city, Log: slog.New(slog.DiscardHandler),
					Connect: func(of audience.Destination) (destination.Destination, error) {
						w := city.worlds[audience.AudienceID(of.ID)]
						return house{connection{w.platform, w}, city}, nil
					}})
				d.SetPageUsers(4)
				if replace {
					d.SetChoose(by(destination.ByReplace))
				}
				var syncs sync.WaitGroup
				for id, w := range city.worlds {
					w.steps.Store(0)
					w.dieAt = random.IntN(100)
					if last {
						w.dieAt, w.platform.faults = 0, 0
					}
					syncs.Go(func() {
						_, err := d.Sync(context.Background(), id, audience.RunID(fmt.Sprint(round)), true, progress)
						if last && round > rounds && err != nil {
							panic(errors.Join(errors.New("the last sync"), err))
						}
					})
				}
				syncs.Wait()
				require.Empty(r, city.shared)
				time.Sleep(2 * time.Hour)
			}
			for _, w := range city.worlds {
				require.Empty(r, w.platform.violated)
			}
			for i := range users {
				holders := 0
				wanted := false
				for _, w := range city.worlds {
					_, wants := w.wanted[nth(i)]
					wanted = wanted || wants
					if w.ledger[nth(i)].State.MayHold() {
						holders++
						require.True(r, wants)
						require.Equal(r, audience.DeliveryDelivered, w.ledger[nth(i)].State)
						require.Contains(r, w.platform.held, rowKey(w.wanted[nth(i)]))
					}
				}
				require.Equal(r, wanted, holders == 1, "user %d is held by %d", i, holders)
			}
		})
	})
}

// move draws which of the audiences want a user: none, one, or both.
func (t *town) move(random *rand.Rand, user audience.UserID, round int) {
	for _, id := range []audience.AudienceID{"one", "two"} {
		w := t.worlds[id]
		delete(w.wanted, user)
		if random.IntN(2) == 0 {
			w.wanted[user] = []audience.Identifier{{Scheme: emails, Value: fmt.Sprintf("%s/%d", user, round/2)}}
		}
	}
}
