package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

const (
	emails audience.Scheme = "x:EMAIL"
	phones audience.Scheme = "x:PHONE"
)

// world is everything outside delivery: a catalogue of one audience, target and ledger, and a platform. Each thing
// delivery does to it is a step, and at a chosen step the process dies: from there on nothing has an effect any more.
type world struct {
	audience  audience.Audience
	others    []audience.Audience
	wanted    map[audience.UserID][]audience.Identifier
	values    map[audience.UserID]float64 // of a value-based audience; who has none is not wanted
	stopped   map[audience.UserID]string  // members who may not be sent, and why
	elsewhere map[audience.UserID]bool    // held by a rival of the exclusive group, since the plan
	rivals    []audience.Number           // asked about
	rival     func(audience.UserID) bool  // held by one; nil without any
	ledger    map[audience.UserID]audience.Delivery
	doubts    []audience.Delivery
	undue     []audience.Delivery // doubts whose span is not over
	forgetful bool                // the process is dead before it notes a doubt
	platform  *platform
	held      audience.HeldPlan // by default an approval of everything
	past      []audience.SyncRecord
	source    audience.Source

	mu        sync.Mutex // of target and ledger: pages are read while stops are sent
	pageUsers int        // of delivery
	onRead    func()     // happens while a page of adds and removals is read
	way       destination.Way

	steps   atomic.Int64
	dieAt   int    // 0: never
	pauseAt int    // before the effect of this step the process is paused; 0: never
	paused  func() // what happens meanwhile
	fence   uint64 // of the newest lease
	placed  uint64 // version of the audience's id
	forgets int    // ledger writes that are done though the answer says they failed, as with a lost connection
}

func newWorld() *world {
	return &world{
		audience:  audience.Audience{Meta: audience.Meta{Number: 4}, ID: "vip", Segment: "vip", Destination: "x", MaxRemovalShare: 1},
		wanted:    map[audience.UserID][]audience.Identifier{},
		values:    map[audience.UserID]float64{},
		stopped:   map[audience.UserID]string{},
		ledger:    map[audience.UserID]audience.Delivery{},
		pageUsers: 10_000,
		held: audience.HeldPlan{State: audience.HeldApproved, Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
			Plan: audience.SyncPlan{Additions: 1e9, Removals: 1e9, Changes: 1e9}},
		platform: &platform{held: map[string][]audience.Identifier{}, values: map[string]float64{}, rows: 5, random: rand.New(rand.NewPCG(1, 1))},
	}
}

// deliverer is a new process in the world.
func (w *world) deliverer() *delivery.Deliverer {
	w.steps.Store(0)
	w.dieAt = 0
	d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler), Values: w.compile,
		Connect: func(audience.Destination) (destination.Destination, error) { return connection{w.platform, w}, nil }})
	d.SetPageUsers(w.pageUsers)
	if w.way != "" {
		d.SetChoose(by(w.way))
	}
	return d
}

var errDead = errors.New("the process is dead")

func (w *world) step() error {
	steps := w.steps.Add(1)
	if w.dieAt > 0 && int(steps) >= w.dieAt {
		return errDead
	}
	if w.pauseAt > 0 && int(steps) == w.pauseAt {
		w.paused()
	}
	return nil
}

func (w *world) Audience(context.Context, audience.AudienceID) (audience.Audience, error) {
	return w.audience, w.step()
}

func (w *world) Audiences(context.Context) ([]audience.Audience, error) {
	return append([]audience.Audience{w.audience}, w.others...), w.step()
}

func (w *world) Segment(_ context.Context, id audience.SegmentID) (audience.Segment, error) {
	return audience.Segment{ID: id, Meta: audience.Meta{Number: 7}}, w.step()
}

func (w *world) Destination(_ context.Context, id audience.DestinationID) (audience.Destination, error) {
	return audience.Destination{ID: id}, w.step()
}

func (w *world) SetPlatformID(_ context.Context, _ audience.AudienceID, id string, files bool, version uint64) error {
	if err := w.step(); err != nil {
		return err
	}
	if version >= w.placed {
		w.audience.PlatformID, w.audience.PlatformFiles, w.placed = id, files, version
	}
	return nil
}

// compile gives a query that the world knows without reading it.
func (w *world) compile(_ context.Context, expression string) (audience.Query, error) {
	return audience.Query{SQL: expression}, w.step()
}

// target is whom the platform should hold.
func (w *world) target() map[audience.UserID][]audience.Identifier {
	target := maps.Clone(w.wanted)
	maps.DeleteFunc(target, func(u audience.UserID, _ []audience.Identifier) bool {
		_, worth := w.values[u]
		return w.audience.Value != "" && !worth
	})
	return target
}

// moved reports whether a value is too far from the one that was sent.
func moved(sent, value, tolerance float64) bool { return math.Abs(value-sent) > tolerance*sent }

// rows are everybody of target and ledger. Those who do not ask for values get none.
func (w *world) rows(scope audience.SyncScope) (rows []audience.SyncRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	users := map[audience.UserID]bool{}
	for _, side := range []iter.Seq[audience.UserID]{maps.Keys(w.wanted), maps.Keys(w.stopped), maps.Keys(w.ledger)} {
		for u := range side {
			users[u] = true
		}
	}
	for _, u := range slices.Sorted(maps.Keys(users)) {
		row := audience.SyncRow{User: u, Wanted: w.wanted[u], Suppressed: w.stopped[u], Held: w.ledger[u]}
		if len(row.Wanted) > 0 && !row.Held.State.MayHold() && w.rival != nil && w.rival(u) {
			row.Wanted, row.Suppressed = nil, "held_elsewhere"
		}
		row.Stop = row.Held.State.MayHold() && row.Suppressed != "" && row.Suppressed != "unidentifiable"
		if len(row.Wanted) > 0 && scope.Values.Query.SQL != "" {
			value, worth := w.values[u]
			if !worth {
				row.Wanted, row.Suppressed = nil, "no_value"
			}
			row.Value = value
			row.Moved = worth && slices.Equal(row.Wanted, row.Held.Identifiers) && moved(row.Held.Value, value, scope.Values.Tolerance)
		}
		rows = append(rows, row)
	}
	return rows
}

func (w *world) SyncRows(_ context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error] {
	return func(yield func(audience.SyncRow, error) bool) {
		rows := w.rows(scope)
		if w.onRead != nil && !within.Urgent {
			w.onRead()
		}
		for _, row := range rows {
			differs := plan.Of(row) != plan.Keep || row.Suppressed != ""
			involved := within.Agreed && (len(row.Wanted) > 0 || row.Held.State.MayHold())
			urgent := row.Stop || row.Held.State == audience.DeliverySending && strings.HasPrefix(row.Held.Reason, audience.ReasonSharing)
			if !differs && !involved || row.User <= within.After || within.Urgent && !urgent || within.Held && !row.Held.State.MayHold() ||
				within.Users != nil && !slices.Contains(within.Users, row.User) {
				continue
			}
			if err := w.step(); !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (w *world) SyncTotals(_ context.Context, scope audience.SyncScope) (t audience.SyncTotals, err error) {
	for _, row := range w.rows(scope) {
		wanted := len(row.Wanted) > 0
		if wanted || row.Suppressed != "" {
			t.Members++
		}
		if row.Held.State.MayHold() {
			t.Held++
		}
		if wanted && plan.Of(row) == plan.Keep {
			if row.Held.State == audience.DeliveryDelivered {
				t.Unchanged++
			} else {
				t.Rejected++
			}
		}
	}
	return t, w.step()
}

func (w *world) Deliveries(context.Context, audience.Number) iter.Seq2[audience.Delivery, error] {
	return func(yield func(audience.Delivery, error) bool) {
		for _, u := range slices.Sorted(maps.Keys(w.ledger)) {
			if err := w.step(); !yield(w.ledger[u], err) || err != nil {
				return
			}
		}
	}
}

func (w *world) Sharers(_ context.Context, _ audience.Number, ids []audience.Identifier) iter.Seq2[audience.Delivery, error] {
	return func(yield func(audience.Delivery, error) bool) {
		for _, u := range slices.Sorted(maps.Keys(w.ledger)) {
			row := w.ledger[u]
			if row.State == audience.DeliveryDelivered && slices.ContainsFunc(row.Identifiers, func(id audience.Identifier) bool { return slices.Contains(ids, id) }) &&
				!yield(row, nil) {
				return
			}
		}
	}
}

func (w *world) HeldBy(_ context.Context, rivals []audience.Number, users []audience.UserID) (held []audience.UserID, err error) {
	w.rivals = rivals
	for _, u := range users {
		if w.elsewhere[u] {
			held = append(held, u)
		}
	}
	return held, w.step()
}

func (w *world) Source(context.Context, time.Time) (audience.Source, error) {
	return w.source, w.step()
}

func (w *world) PastSyncs(context.Context, audience.Number, time.Time) ([]audience.SyncRecord, error) {
	return w.past, w.step()
}

func (w *world) RecordSync(_ context.Context, _ audience.Number, record audience.SyncRecord) error {
	if err := w.step(); err != nil {
		return err
	}
	w.past = []audience.SyncRecord{record}
	return nil
}

func (w *world) HeldPlan(context.Context, audience.Number) (audience.HeldPlan, error) {
	return w.held, w.step()
}

func (w *world) PutHeldPlan(_ context.Context, _ audience.Number, held audience.HeldPlan) error {
	if err := w.step(); err != nil {
		return err
	}
	w.held = held
	return nil
}

func (w *world) RecordStops(_ context.Context, stops []audience.Stop) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, stop := range stops {
		w.stopped[stop.User] = stop.Reason
		delete(w.wanted, stop.User)
	}
	return w.step()
}

func (w *world) RecordDeliveries(ctx context.Context, number audience.Number, deliveries []audience.Delivery) error {
	if number != w.audience.Number {
		return fmt.Errorf("audience %d", number)
	}
	if err := errors.Join(ctx.Err(), w.step()); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range deliveries {
		if d.Version >= w.ledger[d.User].Version {
			w.ledger[d.User] = d
		}
	}
	if w.forgets > 0 {
		w.forgets--
		return &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second}
	}
	return nil
}

func (w *world) RecordDoubts(_ context.Context, _ audience.Number, doubts []audience.Delivery) error {
	if w.forgetful {
		return errDead
	}
	w.doubts = append(w.doubts, doubts...)
	return w.step()
}

func (w *world) DoubtIntents(_ context.Context, _ audience.Number, below uint64, _ time.Duration) error {
	if err := w.step(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range w.ledger {
		if (row.State == audience.DeliverySending || row.State == audience.DeliveryRemoving) && (below == 0 || row.Version < below) {
			w.undue = append(w.undue, row)
		}
	}
	return nil
}

// pass lets time pass, until no request of a process that is dead can be carried out.
func (w *world) pass() { w.doubts, w.undue = append(w.doubts, w.undue...), nil }

func (w *world) MayBeAddedLate(_ context.Context, _ audience.Number, user audience.UserID) (bool, error) {
	return slices.ContainsFunc(w.undue, func(d audience.Delivery) bool { return d.User == user && d.State == audience.DeliverySending }), w.step()
}

func (w *world) SettleDoubts(_ context.Context, _ audience.Number, version uint64) error {
	if err := w.step(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var concerned []audience.Identifier
	for _, doubt := range w.doubts {
		concerned = append(concerned, doubt.Identifiers...)
		if held := w.ledger[doubt.User]; held.State.MayHold() {
			doubt.Identifiers = append(slices.Clone(held.Identifiers), doubt.Identifiers...)
		}
		doubt.State, doubt.Version = audience.DeliverySending, version
		w.ledger[doubt.User] = doubt
	}
	for user, row := range w.ledger {
		if row.State == audience.DeliveryDelivered && slices.ContainsFunc(row.Identifiers, func(id audience.Identifier) bool { return slices.Contains(concerned, id) }) {
			row.State, row.Reason, row.Version = audience.DeliverySending, audience.ReasonSharing, version
			w.ledger[user] = row
		}
	}
	w.doubts = nil
	return nil
}
