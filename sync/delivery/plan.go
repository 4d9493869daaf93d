package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// plan is counted and judged.
func (d *Deliverer) plan(ctx context.Context, t target) (plan.Plan, plan.Evidence, error) {
	evidence, err := d.evidence(ctx, t)
	if err != nil {
		return plan.Plan{}, evidence, fmt.Errorf("plan audience %s: %w", t.audience.ID, err)
	}
	p, err := d.count(ctx, t, evidence)
	if err != nil {
		return plan.Plan{}, evidence, fmt.Errorf("plan audience %s: %w", t.audience.ID, err)
	}
	return p, evidence, nil
}

// count adds up the steps and chooses the way they go.
func (d *Deliverer) count(ctx context.Context, t target, evidence plan.Evidence) (plan.Plan, error) {
	var tally plan.Tally
	diff := diffSize{target: t, page: d.pageUsers}
	for row, err := range d.Ledger.SyncRows(ctx, t.scope, audience.SyncRange{}) {
		if err != nil {
			return plan.Plan{}, err
		}
		diff.count(row, tally.Count(row))
	}
	diff.split(destination.Remove)
	diff.split(destination.Add)
	totals, err := d.Ledger.SyncTotals(ctx, t.scope)
	if err != nil {
		return plan.Plan{}, err
	}
	p := tally.Plan(totals, evidence)
	if p.Steps() > 0 {
		d.setWay(t, &p, diff)
	}
	return p, nil
}

// diffSize is what the steps of a plan are as adds and removals, in requests and their rows.
type diffSize struct {
	target
	page     int
	pages    [destination.Remove + 1][]destination.Row
	rows     [destination.Remove + 1]int64
	requests int64
}

func (s *diffSize) count(row audience.SyncRow, step plan.Step) {
	for _, op := range []destination.Op{destination.Remove, destination.Add} {
		if !includes(step, op) {
			continue
		}
		if s.pages[op] = append(s.pages[op], s.toSend(row, op)...); len(s.pages[op]) >= s.page {
			s.split(op)
		}
	}
}

// split turns the page of an operation into requests.
func (s *diffSize) split(op destination.Op) {
	batches, _ := s.destination.Split(s.pages[op], op)
	for _, b := range batches {
		s.rows[op] += int64(len(b.Rows))
	}
	s.requests += int64(len(batches))
	s.pages[op] = s.pages[op][:0]
}

// setWay chooses the way of a plan, and says why and how long it takes.
func (d *Deliverer) setWay(t target, p *plan.Plan, diff diffSize) {
	rowsEach := 1.0 // of a user, who may be several rows
	if adding := p.Additions + p.Changes + p.Revalued; adding > 0 {
		rowsEach = float64(diff.rows[destination.Add]) / float64(adding)
	}
	limits := t.destination.Limits()
	choice := d.choose(destination.Load{
		Rows:      diff.rows[destination.Add] + int64(rowsEach*float64(p.Unchanged)),
		Additions: diff.rows[destination.Add],
		Removals:  diff.rows[destination.Remove],
		Requests:  diff.requests,
		Held:      p.Held,
		Static:    t.audience.Static && t.audience.PlatformID == "", // what was made of requests stays so
		Files:     t.audience.PlatformFiles,
	}, limits)
	p.Way, p.WayReason, p.Requests = string(choice.Way), choice.Reason, choice.Requests
	p.Duration = max(choice.Duration, limits.Budget.Takes(choice.Requests), t.account.forecast(choice.Requests)).Round(time.Millisecond)
}

// includes reports whether a step has a part with the operation.
func includes(step plan.Step, op destination.Op) bool {
	switch step {
	case plan.Change:
		return true
	case plan.Add, plan.Revalue:
		return op == destination.Add
	case plan.Remove:
		return op == destination.Remove
	case plan.Keep:
	}
	return false
}

// toSend is what an operation sends of a user: what was added, or is wanted. If it is not certain which of several identifiers
// the platform holds, and in which rows, each of them is removed alone: a row that is refused for one would keep another.
func (t *target) toSend(row audience.SyncRow, op destination.Op) []destination.Row {
	switch {
	case op == destination.Add:
		return []destination.Row{t.row(row.User, row.Wanted, row.Value)}
	case row.Held.State == audience.DeliveryDelivered:
		return []destination.Row{t.row(row.User, row.Held.Identifiers, row.Held.Value)}
	}
	rows := make([]destination.Row, len(row.Held.Identifiers))
	for i := range rows {
		rows[i] = t.row(row.User, row.Held.Identifiers[i:i+1:i+1], row.Held.Value)
	}
	return rows
}
