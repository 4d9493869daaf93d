package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// kind is which outcome of the report a user belongs to.
type kind int

const (
	addition kind = iota
	removal
	change
	revaluation
	restoral // of a member who shares an identifier with a removed user, or is in a rebuild as he was
	kinds
)

// kindNames are those of a run's counts.
var kindNames = [kinds]string{addition: "additions", removal: "removals", change: "changes", revaluation: "revalued", restoral: "restored"}

// changing begins the ledger's reason of a removal that is the first half of a change.
const changing = "identifiers changed"

// fate is what is known of one user in one operation.
type fate struct {
	kind      kind
	counted   bool // with the first half of a change, or when this run tried it before
	op        destination.Op
	user      audience.UserID
	sent      []audience.Identifier
	value     float64               // beside them
	keeps     *audience.Delivery    // what stands in the ledger if the platform refuses the user, who is held already
	before    []audience.Identifier // in a rebuild: all that the platform may hold of him until it has begun
	because   string                // the ledger's reason while the outcome is not known
	intended  bool                  // the intent is in the ledger
	asked     bool                  // in a rebuild: the ledger says that a row of his was sent
	open      int                   // rows the platform has not spoken on yet
	confirmed int
	refusals  []string // reasons, each once
	dropped   bool     // not this round's any more: stopped, or held by a rival
}

// page sends one page of users.
func (r *round) page(ctx context.Context, page []audience.SyncRow) error {
	r.show(stages[r.op])
	rows := make([]destination.Row, 0, len(page))
	r.fates = make(map[audience.UserID]*fate, len(page))
	for _, row := range page {
		rows = append(rows, r.toSend(row, r.op)...)
		r.fates[row.User] = r.fateOf(row)
	}
	if r.op == destination.Remove {
		if err := r.unsettleSharers(ctx, rows); err != nil {
			return err
		}
	}
	batches, err := r.split(ctx, rows)
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := r.overtake(ctx); err != nil {
			return err
		}
		if b.Rows = r.remaining(b.Rows); len(b.Rows) == 0 {
			continue
		}
		if b, err = r.intend(ctx, b); err != nil {
			return err
		}
		failure := r.batch(ctx, b)
		if err := errors.Join(failure, r.record(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// split makes the requests of rows whose fates are begun.
func (r *round) split(ctx context.Context, rows []destination.Row) ([]destination.Batch, error) {
	batches, unsendable := r.destination.Split(rows, r.op)
	for _, b := range batches {
		for _, row := range b.Rows {
			r.fates[row.User].open++
		}
	}
	return batches, r.setUnsendable(ctx, rows, unsendable)
}

// fateOf begins a user's fate. What earlier work of this very run has left of him tells to which outcome he belongs: the
// second half of a change by the first, whom a removal or a rebuild has unsettled by what it wrote into the ledger.
func (r *round) fateOf(row audience.SyncRow) *fate {
	f := &fate{kind: addition, op: r.op, user: row.User, sent: row.Wanted, value: row.Value}
	if r.op == destination.Remove {
		f.sent, f.value = row.Held.Identifiers, row.Held.Value
	}
	mark, rebuilt := markOf(row.Held)
	own := row.Held.Run == r.run
	switch {
	case plan.Of(row) == plan.Change:
		f.kind = change
	case plan.Of(row) == plan.Revalue:
		f.kind, f.keeps = revaluation, &row.Held
	case r.op == destination.Remove:
		f.kind = removal
	case own && !row.Held.State.MayHold() && strings.HasPrefix(row.Held.Reason, changing):
		f.kind, f.counted = change, true
	case own && rebuilt && mark.kind != removal:
		f.kind = mark.kind
	case shares(row) && own:
		f.kind = restored(row)
	}
	f.counted = f.counted || r.op == destination.Remove && r.triedToStop(row)
	if shares(row) {
		f.because = row.Held.Reason // until he is restored, so that it is not forgotten
	}
	return f
}

// triedToStop reports whether this very run has sent a user's removal already, and the platform has not confirmed it.
func (s *sending) triedToStop(row audience.SyncRow) bool {
	return row.Held.Run == s.run && row.Held.State == audience.DeliveryRemoving && row.Held.Reason == ""
}

// setUnsendable settles the users no request can carry: they are refused. It cannot happen to a removal, which sends what
// was sent before; if it did, the ledger would stay as it is.
func (r *round) setUnsendable(ctx context.Context, rows []destination.Row, unsendable []destination.Rejection) error {
	for _, refused := range unsendable {
		f := r.fates[rows[refused.Row].User]
		if f.open > 0 || len(f.refusals) > 0 { // others of his rows can
			continue
		}
		r.countTried(f)
		if f.op == destination.Add {
			f.refusals = []string{refused.Reason}
			r.ended = append(r.ended, f)
		}
	}
	return r.record(ctx)
}

// remaining are the rows of users who are still this round's.
func (r *round) remaining(rows []destination.Row) []destination.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(row destination.Row) bool {
		return r.fates[row.User].dropped || r.rebuilds != nil && r.rebuilds.stopped[row.User]
	})
}

// intend writes into the ledger that the users of a batch are being sent or removed, and gives the batch back without
// users who must not be sent after all.
func (r *round) intend(ctx context.Context, b destination.Batch) (destination.Batch, error) {
	state := audience.DeliverySending
	if b.Op == destination.Remove {
		state = audience.DeliveryRemoving
	} else if len(r.scope.Rivals) > 0 {
		// No audience of the group may write an intent between the question and the answer in the ledger.
		r.group.Lock()
		defer r.group.Unlock()
		if err := r.dropHeldElsewhere(ctx, b.Rows); err != nil {
			return b, err
		}
		b.Rows = r.remaining(b.Rows)
	}
	var fates []*fate
	var intents []audience.Delivery
	for _, row := range b.Rows {
		if f := r.fates[row.User]; !f.intended {
			f.intended = true
			fates = append(fates, f)
			intents = append(intents, r.delivery(f, state))
		}
	}
	if err := r.write(ctx, r.target, intents); err != nil {
		return b, fmt.Errorf("write intents: %w", err)
	}
	for _, f := range fates {
		r.countTried(f)
	}
	return b, nil
}

// dropHeldElsewhere leaves out users whom another audience of the exclusive group holds or may hold.
func (r *round) dropHeldElsewhere(ctx context.Context, rows []destination.Row) error {
	users := make([]audience.UserID, len(rows))
	for i, row := range rows {
		users[i] = row.User
	}
	held, err := r.Ledger.HeldBy(ctx, r.scope.Rivals, users)
	for _, user := range held {
		r.fates[user].dropped = true
	}
	return err
}

// countTried counts a user once, a change with its removal. Those of a rebuild are counted when it is over.
func (r *round) countTried(f *fate) {
	if !f.counted && r.rebuilds == nil {
		r.tried[f.kind]++
	}
}

func (r *round) confirm(row destination.Row) {
	f := r.fates[row.User]
	f.confirmed++
	r.spoken(f)
}

func (r *round) refuse(f *fate, reason string) {
	if !slices.Contains(f.refusals, reason) {
		f.refusals = append(f.refusals, reason)
	}
	r.spoken(f)
}

// spoken takes in that the platform has spoken on one row of a user.
func (r *round) spoken(f *fate) {
	if f.open--; f.open == 0 && !f.dropped {
		r.ended = append(r.ended, f)
	}
}

// record writes the fates that ended into the ledger, then counts them. An answer that is here is written down even if
// the sync has been cancelled meanwhile.
func (r *round) record(ctx context.Context) error {
	ended, unconfirmed := r.ended, r.unconfirmed
	r.ended, r.unconfirmed = nil, nil
	if len(ended)+len(unconfirmed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	deliveries := make([]audience.Delivery, 0, len(ended)+len(unconfirmed))
	for _, f := range unconfirmed {
		deliveries = append(deliveries, r.delivery(f, audience.DeliverySending))
	}
	for _, f := range ended {
		deliveries = append(deliveries, r.delivery(f, f.state()))
	}
	if err := r.write(ctx, r.target, deliveries); err != nil {
		return fmt.Errorf("write what the platform said: %w", err)
	}
	for _, f := range ended {
		r.countEnded(f)
	}
	r.done += int64(len(ended))
	r.show(stages[r.op])
	return nil
}

var stages = map[destination.Op]string{destination.Add: "adding members", destination.Remove: "removing members"}

// state is the ledger's, once the platform has spoken on every row.
func (f *fate) state() audience.DeliveryState {
	switch {
	case f.confirmed == 0:
		return audience.DeliveryRejected
	case f.op == destination.Remove:
		return audience.DeliveryRemoved
	}
	return audience.DeliveryDelivered
}

// delivery is the ledger's row of a user. In a rebuild nobody is delivered before all of it is confirmed.
func (r *round) delivery(f *fate, state audience.DeliveryState) audience.Delivery {
	reason := strings.Join(f.refusals, "; ")
	if state == audience.DeliveryRejected && f.keeps != nil {
		kept := *f.keeps
		kept.Reason, kept.Run, kept.Time = reason, r.run, time.Now().UTC()
		return kept
	}
	switch {
	case r.rebuilds != nil && state == audience.DeliverySending:
		reason = mark{stage: asked, kind: f.kind}.String()
	case r.rebuilds != nil && state == audience.DeliveryDelivered:
		state, reason = audience.DeliverySending, mark{stage: taken, kind: f.kind, refusals: reason}.String()
	case f.kind == change && f.op == destination.Remove:
		reason = strings.TrimSuffix(changing+"; "+reason, "; ")
	case state == audience.DeliverySending:
		reason = f.because
	}
	return audience.Delivery{User: f.user, State: state, Identifiers: f.sent, Value: f.value, Reason: reason, Run: r.run, Time: time.Now().UTC()}
}

// concerned are the users of some rows, with all that is sent of each.
func (r *round) concerned(rows []destination.Row) []audience.Delivery {
	users := map[audience.UserID]bool{}
	var concerned []audience.Delivery
	for _, row := range rows {
		if !users[row.User] {
			users[row.User] = true
			concerned = append(concerned, r.delivery(r.fates[row.User], audience.DeliverySending))
		}
	}
	return concerned
}

// countEnded counts a user the platform has spoken on. The removal of a change is half of it and counts nothing; who was
// taken in a rebuild is counted once all of it is confirmed.
func (r *round) countEnded(f *fate) {
	if f.kind == change && f.op == destination.Remove {
		return
	}
	if r.rebuilds != nil {
		if f.confirmed > 0 {
			return
		}
		r.rebuilds.intended[f.kind]--
		r.tried[f.kind]++
	}
	o := r.report.outcomes()[f.kind]
	reason := strings.Join(f.refusals, "; ")
	switch {
	case f.confirmed == 0:
		o.Rejected++
		count(&r.report.Rejected, reason)
	case reason != "":
		o.Confirmed++
		count(&r.report.Partly, reason)
	default:
		o.Confirmed++
	}
}

func count(counts *map[string]int64, key string) {
	if *counts == nil {
		*counts = map[string]int64{}
	}
	(*counts)[key]++
}
