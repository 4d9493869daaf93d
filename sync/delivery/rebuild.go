package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// rebuild is a round that makes an audience anew as a whole, by a replacement or by files: everybody wanted is sent, also who
// was held before, and in the end nobody else is held. Until the platform has confirmed the whole, it may hold anybody who
// was held before and anybody who was sent; so the ledger says `sending` of the wanted and `removing` of the others, with a
// mark of how far each has come. Whatever ends a rebuild early, the adds and removals that follow settle what it has left.
type rebuild struct {
	*round
	mayLeave int64        // who may be left out yet for having left the segment
	intended [kinds]int64 // of whom nothing is counted yet

	rows    []destination.Row // on the way now
	open    bool              // the request sent last was not answered: no other may follow it
	over    bool              // the platform takes no more of it, or must not be sent more
	stopped map[audience.UserID]bool
	late    []audience.UserID // stops that wait for the end
	every   bool              // anybody's do
	short   bool              // one of them is, or may be, about somebody who was sent already
}

func (s *sending) rebuild() *rebuild {
	r := &rebuild{round: s.round(destination.Add), stopped: map[audience.UserID]bool{}, mayLeave: s.leavers}
	r.rebuilds, r.overtake = r, r.heed
	s.total = s.report.Plan.Unchanged + s.report.Plan.Steps()
	return r
}

// intendAll writes down of everybody held that he may be lost, and of everybody wanted that he may be held. Stops are sent
// before each page of that: what follows lets none leave on its own.
func (r *rebuild) intendAll(ctx context.Context) error {
	r.show("writing down whom the audience will hold")
	within := audience.SyncRange{Agreed: true}
	for more := true; more; {
		if err := r.urgentFirst(ctx, func([]audience.UserID) {}); err != nil {
			return err
		}
		var page []audience.SyncRow
		var err error
		if page, more, err = r.read(ctx, &within, r.pageUsers, func(audience.SyncRow) bool { return true }); err != nil {
			return err
		}
		if err := r.intendPage(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

func (r *rebuild) intendPage(ctx context.Context, page []audience.SyncRow) error {
	held, unlock, err := r.heldElsewhere(ctx, page)
	defer unlock()
	if err != nil {
		return err
	}
	intents := make([]audience.Delivery, 0, len(page))
	var intended [kinds]int64
	for _, row := range page {
		m, identifiers, some := r.intentOf(row)
		if !some || slices.Contains(held, row.User) {
			continue
		}
		state := audience.DeliverySending
		if m.stage == leaving {
			state = audience.DeliveryRemoving
		}
		intended[m.kind]++
		if r.triedToStop(row) {
			r.tried[removal]--
		}
		value := row.Held.Value
		if len(row.Wanted) > 0 {
			value = row.Value
		}
		intents = append(intents, audience.Delivery{User: row.User, State: state, Identifiers: identifiers, Value: value,
			Reason: m.String(), Run: r.run, Time: time.Now().UTC()})
	}
	if err := r.write(ctx, r.target, intents); err != nil {
		return err
	}
	for k, n := range intended {
		r.intended[k] += n
	}
	return nil
}

// heldElsewhere names whom of a page another audience of the exclusive group may hold. Until unlock no other audience of the
// group writes an intent.
func (r *rebuild) heldElsewhere(ctx context.Context, page []audience.SyncRow) (held []audience.UserID, unlock func(), err error) {
	if len(r.scope.Rivals) == 0 || len(page) == 0 {
		return nil, func() {}, nil
	}
	var coming []audience.UserID
	for _, row := range page {
		if !row.Held.State.MayHold() {
			coming = append(coming, row.User)
		}
	}
	r.group.Lock()
	held, err = r.Ledger.HeldBy(ctx, r.scope.Rivals, coming)
	return held, r.group.Unlock, err
}

// intentOf is what a rebuild does about a user, and all that the platform may hold of him until it is over; some is false
// when there is nothing to do. Of more leavers than were planned the others are sent again, and left to the next sync.
func (r *rebuild) intentOf(row audience.SyncRow) (m mark, identifiers []audience.Identifier, some bool) {
	step, mayHold := plan.Of(row), row.Held.State.MayHold()
	switch {
	case len(row.Wanted) > 0 && step == plan.Keep && !mayHold: // refused before as he is wanted
		return mark{}, nil, false
	case len(row.Wanted) > 0:
		identifiers = row.Wanted
		if mayHold && step == plan.Change {
			identifiers = union(row.Held.Identifiers, row.Wanted)
		}
		of := map[plan.Step]kind{plan.Keep: restoral, plan.Add: addition, plan.Change: change, plan.Revalue: revaluation}[step]
		if of == addition && shares(row) && row.Held.Run == r.run {
			of = restored(row)
		}
		return mark{stage: waiting, kind: of}, identifiers, true
	case !mayHold:
		return mark{}, nil, false
	case row.Stop:
	case r.mayLeave > 0:
		r.mayLeave--
	default:
		return mark{stage: waiting, kind: restoral}, row.Held.Identifiers, true
	}
	return mark{stage: leaving, kind: removal}, row.Held.Identifiers, true
}

func union(a, b []audience.Identifier) []audience.Identifier {
	both := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(a, id) {
			both = append(both, id)
		}
	}
	return both
}

// rowOf is what to send of a user; some is false when he is not to be sent, or not any more.
func (r *rebuild) rowOf(row audience.SyncRow) (send destination.Row, some bool) {
	m, ok := markOf(row.Held)
	if !ok || row.Held.Run != r.run || m.stage == leaving || row.Stop || r.stopped[row.User] {
		return send, false
	}
	identifiers := row.Held.Identifiers
	if m.kind == change { // the old ones stand there, too
		identifiers = row.Wanted
	}
	carried := func(id audience.Identifier) bool { return slices.Contains(r.scope.Schemes, id.Scheme) }
	some = containsAll(row.Held.Identifiers, identifiers) && slices.ContainsFunc(identifiers, carried)
	return r.row(row.User, identifiers, row.Held.Value), some
}

// heed takes in the stops that came meanwhile. Nothing but the rebuild may change the members now: who is not sent yet is
// left out of it, and is off the platform with it; for the others it is brought to an end, the sooner they can go.
func (r *rebuild) heed(ctx context.Context) error {
	users, some := r.line.take()
	if !some {
		return nil
	}
	if users == nil { // who was to be stopped before this sync began: its pages are without them
		r.every = true
		return nil
	}
	r.late = append(r.late, users...)
	for _, user := range users {
		r.stopped[user] = true
		if f := r.fates[user]; f != nil {
			f.dropped = true
		}
		r.short = r.short || slices.ContainsFunc(r.rows, func(row destination.Row) bool { return row.User == user })
	}
	for row, err := range r.Ledger.SyncRows(ctx, r.scope, audience.SyncRange{Users: users, Urgent: true}) {
		if err != nil {
			return err
		}
		m, ok := markOf(row.Held)
		r.short = r.short || ok && (m.stage == taken || m.stage == asked)
	}
	return nil
}

// settle writes into the ledger, once the platform has confirmed the whole, what each user's mark says.
func (r *rebuild) settle(ctx context.Context) error {
	r.show("writing down whom the audience holds")
	within := audience.SyncRange{Agreed: true}
	for more := true; more; {
		page, others, err := r.read(ctx, &within, r.pageUsers, func(row audience.SyncRow) bool {
			m, ok := markOf(row.Held)
			return ok && row.Held.Run == r.run && m.stage != asked
		})
		if err != nil {
			return err
		}
		more = others
		settled := make([]audience.Delivery, len(page))
		for i, row := range page {
			settled[i] = settledAs(row)
		}
		if err := r.write(ctx, r.target, settled); err != nil {
			return err
		}
		for _, row := range page {
			r.countSettled(row)
		}
	}
	return nil
}

// settledAs is what becomes of a mark. Who was not sent keeps his: the adds that follow send him, and count him as what he is.
func settledAs(row audience.SyncRow) audience.Delivery {
	entry := row.Held
	entry.Time = time.Now().UTC()
	m, _ := markOf(entry)
	switch m.stage {
	case taken:
		entry.State, entry.Reason = audience.DeliveryDelivered, m.refusals
		if m.kind == change && containsAll(entry.Identifiers, row.Wanted) { // the old ones are gone
			entry.Identifiers = row.Wanted
		}
	case leaving:
		entry.State, entry.Reason = audience.DeliveryRemoved, ""
	default:
		entry.State = audience.DeliveryRemoved
	}
	return entry
}

// containsAll reports whether some identifiers are among all, and there are some.
func containsAll(all, some []audience.Identifier) bool {
	for _, id := range some {
		if !slices.Contains(all, id) {
			return false
		}
	}
	return len(some) > 0
}

func (r *rebuild) countSettled(row audience.SyncRow) {
	m, _ := markOf(row.Held)
	switch {
	case m.kind == change:
		r.changers--
	case m.kind == removal && !row.Stop:
		r.leavers--
	}
	if m.stage == waiting {
		return
	}
	r.intended[m.kind]--
	r.tried[m.kind]++
	r.report.outcomes()[m.kind].Confirmed++
	if m.refusals != "" {
		count(&r.report.Partly, m.refusals)
	}
}

// end gives back the stops that waited, and, when the sync ends with the rebuild, counts those whose fate is unknown.
func (r *rebuild) end(err error) {
	if len(r.late) > 0 {
		r.line.put(r.late)
	}
	if r.every {
		r.line.put(nil)
	}
	if err == nil {
		return
	}
	for k, n := range r.intended {
		r.tried[k] += n
	}
}
