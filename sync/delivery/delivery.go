package delivery

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// Ledger compares targets with what platforms hold, and remembers what they hold.
type Ledger interface {
	// SyncRows yields, in UserID order, of the users of the range every one for whom plan.Of is not Keep, every member who
	// may not be sent, and whom else the range asks for.
	SyncRows(ctx context.Context, scope audience.SyncScope, within audience.SyncRange) iter.Seq2[audience.SyncRow, error]
	SyncTotals(ctx context.Context, scope audience.SyncScope) (audience.SyncTotals, error)
	// Deliveries yields the ledger of an audience.
	Deliveries(ctx context.Context, audience audience.Number) iter.Seq2[audience.Delivery, error]
	// Sharers yields the rows of an audience's ledger that are delivered and hold one of the identifiers.
	Sharers(ctx context.Context, audience audience.Number, identifiers []audience.Identifier) iter.Seq2[audience.Delivery, error]
	// HeldBy names those of the users whom one of the ledgers holds or may hold.
	HeldBy(ctx context.Context, audiences []audience.Number, users []audience.UserID) ([]audience.UserID, error)
	// Source is the state of what membership is computed from.
	Source(ctx context.Context, at time.Time) (audience.Source, error)
	// PastSyncs are the last records of each day since a time, newest first.
	PastSyncs(ctx context.Context, audience audience.Number, since time.Time) ([]audience.SyncRecord, error)
	RecordSync(ctx context.Context, audience audience.Number, record audience.SyncRecord) error
	// HeldPlan is the newest that was put; one without State when there is none.
	HeldPlan(ctx context.Context, audience audience.Number) (audience.HeldPlan, error)
	PutHeldPlan(ctx context.Context, audience audience.Number, held audience.HeldPlan) error
	// RecordStops is durable when it returns; from then on SyncRows heeds the stops.
	RecordStops(ctx context.Context, stops []audience.Stop) error
	// RecordDeliveries is durable when it returns. It is for Deliverer.write.
	RecordDeliveries(ctx context.Context, audience audience.Number, deliveries []audience.Delivery) error
	// RecordDoubts keeps, beside the ledger and durable when it returns, whom a request concerned whose lease ended under way.
	RecordDoubts(ctx context.Context, audience audience.Number, doubts []audience.Delivery) error
	// DoubtIntents does the same, after a span, about everybody whose intent below a version is not confirmed.
	DoubtIntents(ctx context.Context, audience audience.Number, below uint64, span time.Duration) error
	// MayBeAddedLate reports whether the user is among those who were to be added, and their span is not over.
	MayBeAddedLate(ctx context.Context, audience audience.Number, user audience.UserID) (bool, error)
	// SettleDoubts makes the ledger say of everybody in doubt, and of members who share an identifier with one, that the
	// platform may or may not hold him, by all identifiers of doubt and ledger. It is repeated until it succeeds.
	SettleDoubts(ctx context.Context, audience audience.Number, version uint64) error
}

// Catalogue is where audiences, segments and destinations are kept.
type Catalogue interface {
	Audiences(ctx context.Context) ([]audience.Audience, error)
	Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error)
	Segment(ctx context.Context, id audience.SegmentID) (audience.Segment, error)
	Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error)
	// SetPlatformID keeps the platform's id of an audience, and whether that is made of files; what was kept at a higher
	// version stands. It is for Deliverer.place.
	SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string, files bool, version uint64) error
}

// Deps are what a Deliverer works with. All but Leases and Announce are required; Values is for value-based audiences.
type Deps struct {
	Ledger    Ledger
	Catalogue Catalogue
	Leases    Leases                                             // nil: no other process has this ledger
	Announce  func(ctx context.Context, users []audience.UserID) // tells other processes, see Heard; nil: there are none
	Connect   func(audience.Destination) (destination.Destination, error)
	Values    func(ctx context.Context, expression string) (audience.Query, error) // of audience.Values, as of now
	Log       *slog.Logger
}

// Deliverer plans and sends. It is safe for concurrent use; syncs of one audience exclude each other, and those of one
// account share its pace.
type Deliverer struct {
	Deps
	pageUsers int
	choose    func(destination.Load, destination.Limits) destination.Choice

	mu         sync.Mutex
	lines      map[audience.AudienceID]*line
	groups     map[string]*sync.Mutex
	gates      map[string]*gate
	connectors map[audience.DestinationID]connector
	stopped    chan struct{} // holds a token when a line has somebody to look at; see Run
}

// pageUsers is how many users are read from the ledger before sending begins: sending may take hours, and a query cannot
// wait for it. About 50 MB.
const pageUsers = 100_000

// New makes a Deliverer. Its Run must run for stops to leave while no sync is under way.
func New(deps Deps) *Deliverer {
	if deps.Leases == nil {
		deps.Leases = &alone{known: map[audience.AudienceID]bool{}}
	}
	return &Deliverer{Deps: deps, pageUsers: pageUsers, choose: destination.FirstLoad, lines: map[audience.AudienceID]*line{}, groups: map[string]*sync.Mutex{},
		gates: map[string]*gate{}, connectors: map[audience.DestinationID]connector{}, stopped: make(chan struct{}, 1)}
}

// Plan says what a sync would do now. It changes nothing and asks no platform.
func (d *Deliverer) Plan(ctx context.Context, id audience.AudienceID) (plan.Plan, error) {
	t, err := d.target(ctx, id)
	if err == nil {
		err = d.setValues(ctx, &t)
	}
	if err != nil {
		return plan.Plan{}, err
	}
	p, _, err := d.plan(ctx, t)
	return p, err
}

// target is an audience with all that syncing it takes.
type target struct {
	audience    audience.Audience
	segment     audience.Segment
	scope       audience.SyncScope
	destination destination.Destination // a fileAudience for one that is made of files
	platform    audience.Platform
	account     account
	line        *line
	lease       Lease       // once held; nil for what concerns no single audience
	group       *sync.Mutex // of the exclusive group, for intents to add; nil without rivals
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
	connected, err := d.connect(account)
	if err != nil {
		return target{}, fmt.Errorf("destination %s: %w", account.ID, err)
	}
	if a.Purpose == "" {
		a.Purpose = audience.DefaultPurpose
	}
	t := target{
		audience: a,
		segment:  segment,
		scope: audience.SyncScope{Audience: a.Number, Segment: segment.Number, Purpose: a.Purpose,
			Destination: account.ID, Schemes: connected.Schemes()},
		destination: connected,
		platform:    account.Platform,
		account:     d.account(account, connected.Limits()),
		line:        d.lineOf(id),
	}
	if a.PlatformFiles {
		if t.destination, err = ofFiles(connected); err != nil {
			return target{}, fmt.Errorf("audience %s: %w", id, err)
		}
	}
	return t, d.setRivals(ctx, &t)
}

// setRivals finds the other audiences of the exclusive group.
func (d *Deliverer) setRivals(ctx context.Context, t *target) error {
	if t.audience.ExclusiveGroup == "" {
		return nil
	}
	all, err := d.Catalogue.Audiences(ctx)
	if err != nil {
		return fmt.Errorf("list the audiences of group %s: %w", t.audience.ExclusiveGroup, err)
	}
	for _, other := range all {
		if other.ExclusiveGroup == t.audience.ExclusiveGroup && other.ID != t.audience.ID {
			t.scope.Rivals = append(t.scope.Rivals, other.Number)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.group = d.groups[t.audience.ExclusiveGroup]; t.group == nil {
		t.group = new(sync.Mutex)
		d.groups[t.audience.ExclusiveGroup] = t.group
	}
	return nil
}

// connector is a destination's, made from one version of it.
type connector struct {
	etag string
	destination.Destination
}

// connect makes the connector of a destination, anew only when the destination was edited: connections are kept, and what
// a connector has learned of its platform.
func (d *Deliverer) connect(account audience.Destination) (destination.Destination, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.connectors[account.ID]; ok && account.Etag != "" && known.etag == account.Etag {
		return known.Destination, nil
	}
	made, err := d.Connect(account)
	if err == nil {
		d.connectors[account.ID] = connector{account.Etag, made}
	}
	return made, err
}
