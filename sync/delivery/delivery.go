package delivery

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// Ledger compares targets with what platforms hold, and remembers what they hold.
type Ledger interface {
	// SyncRows yields, in UserID order, every user for whom plan.Of is not Keep, every member who may not be sent, and
	// perhaps others.
	SyncRows(ctx context.Context, scope audience.SyncScope) iter.Seq2[audience.SyncRow, error]
	SyncTotals(ctx context.Context, scope audience.SyncScope) (audience.SyncTotals, error)
	// Deliveries yields the ledger of an audience.
	Deliveries(ctx context.Context, audience audience.Number) iter.Seq2[audience.Delivery, error]
	// RecordDeliveries is durable when it returns.
	RecordDeliveries(ctx context.Context, audience audience.Number, deliveries []audience.Delivery) error
}

// Catalogue is where audiences, segments and destinations are kept.
type Catalogue interface {
	Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error)
	Segment(ctx context.Context, id audience.SegmentID) (audience.Segment, error)
	Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error)
	// SetPlatformID keeps the platform's id of an audience.
	SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string) error
}

// Deps are what a Deliverer works with. All are required.
type Deps struct {
	Ledger    Ledger
	Catalogue Catalogue
	Connect   func(audience.Destination) (destination.Destination, error)
	Log       *slog.Logger
}

// Deliverer plans and sends. It is safe for concurrent use; syncs of one audience exclude each other, and those of one
// account share its pace.
type Deliverer struct {
	Deps
	pageUsers int

	mu       sync.Mutex
	syncing  map[audience.AudienceID]bool
	accounts map[audience.DestinationID]*account
}

// pageUsers is how many users are read from the ledger before sending begins: sending may take hours, and a query cannot
// wait for it. About 50 MB.
const pageUsers = 100_000

// New makes a Deliverer.
func New(deps Deps) *Deliverer {
	return &Deliverer{Deps: deps, pageUsers: pageUsers, syncing: map[audience.AudienceID]bool{}, accounts: map[audience.DestinationID]*account{}}
}

// Plan says what a sync would do now. It changes nothing and asks no platform.
func (d *Deliverer) Plan(ctx context.Context, id audience.AudienceID) (plan.Plan, error) {
	t, err := d.target(ctx, id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.plan(ctx, t)
}

// target is an audience with all that syncing it takes.
type target struct {
	audience    audience.Audience
	scope       audience.SyncScope
	destination destination.Destination
	account     *account
}

func (d *Deliverer) target(ctx context.Context, id audience.AudienceID) (target, error) {
	a, err := d.Catalogue.Audience(ctx, id)
	if err != nil {
		return target{}, err
	}
	segment, err := d.Catalogue.Segment(ctx, a.Segment)
	if err != nil {
		return target{}, fmt.Errorf("audience %s: %w", id, err)
	}
	account, err := d.Catalogue.Destination(ctx, a.Destination)
	if err != nil {
		return target{}, fmt.Errorf("audience %s: %w", id, err)
	}
	connector, err := d.Connect(account)
	if err != nil {
		return target{}, fmt.Errorf("destination %s: %w", account.ID, err)
	}
	if a.Purpose == "" {
		a.Purpose = "advertising"
	}
	return target{
		audience: a,
		scope: audience.SyncScope{Audience: a.Number, Segment: segment.Number, Purpose: a.Purpose,
			Destination: account.ID, Schemes: connector.Schemes()},
		destination: connector,
		account:     d.account(account.ID, connector.Limits().RequestsPerSecond),
	}, nil
}

// plan counts the steps, and the requests that they become.
func (d *Deliverer) plan(ctx context.Context, t target) (plan.Plan, error) {
	var tally plan.Tally
	var requests int64
	pages := map[destination.Op][]destination.Row{}
	split := func(op destination.Op, page []destination.Row) {
		batches, _ := t.destination.Split(page, op)
		requests += int64(len(batches))
		pages[op] = pages[op][:0]
	}
	for row, err := range d.Ledger.SyncRows(ctx, t.scope) {
		if err != nil {
			return plan.Plan{}, fmt.Errorf("plan audience %s: %w", t.audience.ID, err)
		}
		step := tally.Count(row)
		for _, op := range []destination.Op{destination.Remove, destination.Add} {
			if !includes(step, op) {
				continue
			}
			if pages[op] = append(pages[op], toSend(row, op)); len(pages[op]) == d.pageUsers {
				split(op, pages[op])
			}
		}
	}
	for op, page := range pages {
		split(op, page)
	}
	totals, err := d.Ledger.SyncTotals(ctx, t.scope)
	if err != nil {
		return plan.Plan{}, fmt.Errorf("plan audience %s: %w", t.audience.ID, err)
	}
	return tally.Plan(totals, t.audience.MaxRemovalShare, requests, t.destination.Limits().RequestsPerSecond), nil
}

// includes reports whether a step has a part with the operation.
func includes(step plan.Step, op destination.Op) bool {
	return step == plan.Change || step == plan.Add && op == destination.Add || step == plan.Remove && op == destination.Remove
}

// toSend is what an operation sends of a user.
func toSend(row audience.SyncRow, op destination.Op) destination.Row {
	if op == destination.Remove {
		return destination.Row{User: row.User, Identifiers: row.Held.Identifiers}
	}
	return destination.Row{User: row.User, Identifiers: row.Wanted}
}
