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
	restoral // of a member who shares an identifier with a removed user
	kinds
)

// changing begins the ledger's reason of a removal that is the first half of a change.
const changing = "identifiers changed"

// fate is what is known of one user in one operation.
type fate struct {
	kind      kind
	op        destination.Op
	user      audience.UserID
	sent      []audience.Identifier
	intended  bool // the intent is in the ledger
	open      int  // rows the platform has not spoken on yet
	confirmed int
	refusals  []string // reasons, each once
}

// page sends one page of users.
func (s *sending) page(ctx context.Context, op destination.Op, page []audience.SyncRow) error {
	rows := make([]destination.Row, len(page))
	s.fates = make(map[audience.UserID]*fate, len(page))
	for i, row := range page {
		rows[i] = toSend(row, op)
		s.fates[row.User] = &fate{kind: s.kindOf(row, op), op: op, user: row.User, sent: rows[i].Identifiers}
	}
	if op == destination.Remove {
		if err := s.unsettleSharers(ctx, rows); err != nil {
			return err
		}
	}
	batches, unsendable := s.destination.Split(rows, op)
	for _, b := range batches {
		for _, row := range b.Rows {
			s.fates[row.User].open++
		}
	}
	if err := s.setUnsendable(ctx, rows, unsendable); err != nil {
		return err
	}
	for _, b := range batches {
		if err := s.intend(ctx, b); err != nil {
			return err
		}
		failure := s.batch(ctx, b)
		if err := errors.Join(failure, s.record(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// kindOf tells the second half of a change by the first, which this very run has done.
func (s *sending) kindOf(row audience.SyncRow, op destination.Op) kind {
	switch {
	case plan.Of(row) == plan.Change:
		return change
	case op == destination.Remove:
		return removal
	case row.Held.Run == s.run && !row.Held.State.MayHold() && strings.HasPrefix(row.Held.Reason, changing):
		return change
	case s.shares(row):
		return restoral
	}
	return addition
}

// setUnsendable settles the users no request can carry: they are refused. It cannot happen to a removal, which sends what
// was sent before; if it did, the ledger would stay as it is.
func (s *sending) setUnsendable(ctx context.Context, rows []destination.Row, unsendable []destination.Rejection) error {
	for _, r := range unsendable {
		f := s.fates[rows[r.Row].User]
		s.countTried(f)
		if f.op == destination.Add {
			f.refusals = []string{r.Reason}
			s.ended = append(s.ended, f)
		}
	}
	return s.record(ctx)
}

// intend writes into the ledger that the users of a batch are being sent or removed.
func (s *sending) intend(ctx context.Context, b destination.Batch) error {
	state := audience.DeliverySending
	if b.Op == destination.Remove {
		state = audience.DeliveryRemoving
	}
	var fates []*fate
	var intents []audience.Delivery
	for _, row := range b.Rows {
		if f := s.fates[row.User]; !f.intended {
			f.intended = true
			fates = append(fates, f)
			intents = append(intents, s.delivery(f, state))
		}
	}
	if err := s.Ledger.RecordDeliveries(ctx, s.audience.Number, intents); err != nil {
		return fmt.Errorf("write intents: %w", err)
	}
	for _, f := range fates {
		s.countTried(f)
	}
	return nil
}

// countTried counts a user once, a change with its removal.
func (s *sending) countTried(f *fate) {
	if f.kind != change || f.op == destination.Remove {
		s.tried[f.kind]++
	}
}

func (s *sending) confirm(row destination.Row) {
	f := s.fates[row.User]
	f.confirmed++
	s.spoken(f)
}

func (s *sending) refuse(f *fate, reason string) {
	if !slices.Contains(f.refusals, reason) {
		f.refusals = append(f.refusals, reason)
	}
	s.spoken(f)
}

// spoken takes in that the platform has spoken on one row of a user.
func (s *sending) spoken(f *fate) {
	if f.open--; f.open == 0 {
		s.ended = append(s.ended, f)
	}
}

// record writes the fates that ended into the ledger, then counts them. An answer that is here is written down even if
// the sync has been cancelled meanwhile.
func (s *sending) record(ctx context.Context) error {
	ended := s.ended
	s.ended = nil
	if len(ended) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	deliveries := make([]audience.Delivery, len(ended))
	for i, f := range ended {
		deliveries[i] = s.delivery(f, f.state())
	}
	if err := s.Ledger.RecordDeliveries(ctx, s.audience.Number, deliveries); err != nil {
		return fmt.Errorf("write what the platform said: %w", err)
	}
	for _, f := range ended {
		s.countEnded(f)
	}
	s.done += int64(len(ended))
	s.progress(stages[ended[0].op], s.done, s.total)
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

// delivery is the ledger's row of a user.
func (s *sending) delivery(f *fate, state audience.DeliveryState) audience.Delivery {
	reasons := f.refusals
	if f.kind == change && f.op == destination.Remove {
		reasons = append([]string{changing}, reasons...)
	}
	return audience.Delivery{User: f.user, State: state, Identifiers: f.sent, Reason: strings.Join(reasons, "; "),
		Run: s.run, Time: time.Now().UTC()}
}

// countEnded counts a user the platform has spoken on. The removal of a change is half of it and counts nothing.
func (s *sending) countEnded(f *fate) {
	if f.kind == change && f.op == destination.Remove {
		return
	}
	o := s.report.outcomes()[f.kind]
	if f.confirmed > 0 {
		o.Confirmed++
		return
	}
	o.Rejected++
	if s.report.Rejected == nil {
		s.report.Rejected = map[string]int64{}
	}
	s.report.Rejected[strings.Join(f.refusals, "; ")]++
}
