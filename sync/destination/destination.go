package destination

import (
	"context"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Destination is one advertising account of one platform. Its methods are safe for concurrent use, but requests that
// change the members of one audience must not overlap: platforms promise no order between them.
type Destination interface {
	// Schemes lists the identifiers the destination adds users by, in its order of preference. A removal carries every
	// scheme of the platform, because it sends what was added, perhaps under other settings.
	Schemes() []audience.Scheme
	// Limits are the platform's own, after configuration.
	Limits() Limits
	// Split gives the requests that rows become, within the limits. It is pure: equal rows give equal batches. A user may
	// stand in several batches, each with a part of the identifiers; it is held once all of them are confirmed. Rows that
	// cannot be sent are named with the reason, by their index into rows, and stand in no batch. Batches may share the
	// memory of rows: neither is changed afterwards.
	Split(rows []Row, op Op) ([]Batch, []Rejection)
	// Apply sends exactly one request. Repeating it is harmless: adding and removing are operations on sets. An error is
	// an *Error unless ctx has ended; the Pace of the Result holds even then.
	Apply(ctx context.Context, audienceID string, b Batch) (Result, error)
	// EnsureAudience gives the platform's id of the audience spec describes and creates it when a listing does not show
	// it. Calling it again after a lost answer makes no second one; concurrent calls within one process do not either.
	EnsureAudience(ctx context.Context, spec AudienceSpec) (id string, err error)
	// Audience is the platform's own view of the audience.
	Audience(ctx context.Context, id string) (Status, error)
	// DeleteAudience deletes for good. An audience that is gone already is no error.
	DeleteAudience(ctx context.Context, id string) error
	// Check makes sure that the credentials work, with the rights and accepted terms that sending needs.
	Check(ctx context.Context) error
}

// Op is what a request does with its rows.
type Op uint8

// The operations.
const (
	Add    Op = iota + 1 // of members
	Remove               // sends the very identifiers that were added
)

func (op Op) String() string {
	switch op {
	case Add:
		return "add"
	case Remove:
		return "remove"
	}
	return "unknown operation"
}

// Limits of one destination. 0 means that the platform states none.
type Limits struct {
	Rows              int     // of a request
	Bytes             int     // of a request's body
	Audiences         int     // of the account
	RequestsPerSecond float64 // of the account, at which to start; Pace corrects it
	// AppRequestsPerSecond is of all accounts of the app together.
	AppRequestsPerSecond float64
	Budget               Budget // for the long run, as far as known; zero when it allows that pace for hours
	Replace              ReplaceLimits
	Files                FileLimits
}

// Budget is how many requests that change members a platform takes in a span of time.
type Budget struct {
	Requests int64
	Per      time.Duration
}

// Takes is how long so many requests take that are more than it allows at once.
func (b Budget) Takes(requests int64) time.Duration {
	if requests <= b.Requests || b.Requests == 0 {
		return 0
	}
	return time.Duration(float64(requests) / float64(b.Requests) * float64(b.Per))
}

// ReplaceLimits are those of a Replacer, zero for others.
type ReplaceLimits struct {
	Rows   int64         // fewer than so many
	Within time.Duration // from the first batch to the last
}

// FileLimits are those of a Bulk, zero for others.
type FileLimits struct {
	Bytes   int           // of a file
	PerCall int           // files that one call names
	Locked  time.Duration // at most, after each call, before the next
}

// Row is a user with the identifiers to send. Identifiers of other destinations' schemes are passed over.
type Row struct {
	User        audience.UserID
	Identifiers []audience.Identifier
	Value       float64 // relative worth to the advertiser, 0 or more, in one currency for all; if HasValue
	HasValue    bool    // in a value-based audience every row to add has a value; removals need none
	Limited     bool    // the platform may use the row only as laws on limited data use allow
}

// Batch is one request's worth of rows. A batch with a part of its Rows is a valid batch: that is how delivery halves
// one. Only Split makes batches: within one, the identifiers of a row are of schemes of Schema, in its order, at most one
// of each.
type Batch struct {
	Op     Op
	Schema []audience.Scheme // the columns of the request
	Rows   []Row
}

// Result is what the platform said of a batch it took.
type Result struct {
	Rejected  []Rejection // rows the platform refused by name; all others of the batch are confirmed if Unnamed is 0
	Unnamed   int         // rows refused but not named, at least: delivery finds them by bisection
	Pace      Pace
	RequestID string // for the platform's support
}

// Rejection is one row that was refused.
type Rejection struct {
	Row    int    // index into the batch's Rows, or into the rows given to Split
	Reason string // in the platform's words, without values
}

// Pace is what an answer said about budgets.
type Pace struct {
	Used float64       // share of the tightest budget, 1 = used up, may exceed 1; 0 when the platform did not say
	Wait time.Duration // nothing may be sent to this account before; 0 = go on
	Back time.Duration // until that budget is whole again; 0 when the platform did not say
}

// AudienceSpec says which audience to find or create.
type AudienceSpec struct {
	Key  audience.AudienceID // by which it is found again; stable for its life, and of no other life
	Name string              // shown on the platform, where it must tell nothing about the people in it; "" means Key
	// ValueBased makes an audience whose rows have values. It cannot be switched later.
	ValueBased bool
}
