package destination

import (
	"context"
	"errors"
)

// Replacer is a Destination that can rebuild an audience as a whole, without the removals and adds between the old members
// and the new.
type Replacer interface {
	// BeginReplace makes ready to rebuild an audience that takes changes now. It changes nothing at the platform yet.
	BeginReplace(ctx context.Context, audienceID string, spec ReplaceSpec) (Replacement, error)
}

// ReplaceSpec says what a replacement will carry: its columns cannot change on the way.
type ReplaceSpec struct {
	Rows    int64 // about so many
	Valued  bool  // rows have values, see Row
	Limited bool  // some rows are Limited
}

// Replacement is an audience being rebuilt. From the first batch on the platform holds nobody but those of the batches it
// took: before it, the ledger must say of every user held that he may be lost, and of every user to be sent that he may be
// held. Until Finish has spoken nothing else may change the members of the audience.
type Replacement interface {
	// Send sends the next batch, one that Split made of rows to Add; last ends the replacement. Rows it leaves unnamed are
	// not isolated here: they stay unconfirmed. After a Transient or RateLimited error the next Send must bring the same
	// batch. An error that is ErrReplaceOver is the end of this replacement: what it has not confirmed is added once Finish
	// gives nil.
	Send(ctx context.Context, b Batch, last bool) (Result, error)
	// Finish asks whether the platform has taken in what was sent. Nil: the audience holds all rows confirmed, and takes
	// changes again. Busy: ask again later. Rejected: the rebuild failed, nobody knows whom the audience holds; replace
	// anew, or add and remove everybody by the ledger.
	Finish(ctx context.Context) error
}

// ErrReplaceOver is in the errors of a replacement that takes no more batches: its time is up, or the platform has closed
// or lost it.
var ErrReplaceOver = errors.New("the replacement takes no more batches")
