package privacy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
	"github.com/kohorta/kohorta/internal/run"
)

// Store holds what is known of users.
type Store interface {
	// BeginErasure is durable when it returns, and nothing of the user is written from then on. One that is pending is given back.
	BeginErasure(ctx context.Context, user audience.UserID) (audience.Erasure, error)
	PendingErasures(ctx context.Context) ([]audience.Erasure, error)
	// DeleteUser deletes all but membership and ledger.
	DeleteUser(ctx context.Context, user audience.UserID) error
	// DeleteMembership deletes membership, present and past, of a user who has left every segment.
	DeleteMembership(ctx context.Context, user audience.UserID) error
	// DeleteLedger deletes deliveries and stops.
	DeleteLedger(ctx context.Context, user audience.UserID) error
	// EndErasure leaves nothing of the order but the tombstone.
	EndErasure(ctx context.Context, erasure audience.Erasure) error
	// Purge has what was deleted taken off the disk, in a while.
	Purge(ctx context.Context) error
}

// Membership is live membership.
type Membership interface {
	// Forget takes a user of whom nothing is stored any more out of every segment, for every reader.
	Forget(ctx context.Context, user audience.UserID) error
}

// Platforms reaches what platforms hold.
type Platforms interface {
	// Stop has users taken off platforms ahead of all other work; it cannot be lost when it returns.
	Stop(ctx context.Context, stops []audience.Stop) error
	Destinations(ctx context.Context) ([]audience.Destination, error)
	// Erase returns once a destination has confirmed that it does not hold a stopped user, in words; the identifiers are hers beside
	// those in the ledger. An error says why it has not; it goes on from there when called again.
	Erase(ctx context.Context, at audience.Destination, user audience.UserID, identifiers []audience.Identifier) (confirmed string, err error)
}

// Runs starts long work.
type Runs interface {
	Start(ctx context.Context, kind audience.RunKind, subject string, work run.Work) (audience.Run, error)
	List(ctx context.Context, filter audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error)
}

// Deps are what an Eraser works with. All are required.
type Deps struct {
	Store      Store
	Membership Membership
	Platforms  Platforms
	Runs       Runs
	Log        *slog.Logger
}

// Eraser forgets users. It is safe for concurrent use.
type Eraser struct{ Deps }

// New makes an Eraser. Its Run takes up what an earlier process has left.
func New(deps Deps) *Eraser { return &Eraser{deps} }

// purgeEvery is how often what was deleted is taken off the disk: much is written anew for it.
const purgeEvery = 24 * time.Hour

// retry is how long it is waited after what fails.
var retry = pause.Doubling{First: time.Second, Most: time.Minute}

// Erase forgets a user. When it returns she is being taken off every platform, and nothing of her is taken in any more; the
// run does the rest. While one is under way that is given back.
func (e *Eraser) Erase(ctx context.Context, user audience.UserID) (audience.Run, error) {
	erasure, err := e.Store.BeginErasure(ctx, user)
	if err != nil {
		return audience.Run{}, err
	}
	if err := e.stop(ctx, user); err != nil {
		return audience.Run{}, err
	}
	return e.start(ctx, erasure)
}

func (e *Eraser) stop(ctx context.Context, user audience.UserID) error {
	return e.Platforms.Stop(ctx, []audience.Stop{{User: user, Reason: audience.StopErased, Time: time.Now().UTC()}})
}

func (e *Eraser) start(ctx context.Context, erasure audience.Erasure) (audience.Run, error) {
	subject := "erasures/" + erasure.ID
	for {
		begun, err := e.Runs.Start(ctx, audience.RunErase, subject, func(ctx context.Context, task *run.Task) error {
			return e.erase(ctx, erasure, task)
		})
		if !errors.Is(err, audience.ErrConflict) {
			return begun, err
		}
		under, err := e.Runs.List(ctx, audience.RunFilter{Kind: audience.RunErase, Subject: subject, State: audience.RunRunning}, "", 1)
		if err != nil {
			return audience.Run{}, err
		}
		if len(under) > 0 {
			return under[0], nil
		}
	}
}

// Run takes up the erasures that an earlier process has not done, and each day takes what was deleted off the disk. It returns when
// ctx ends.
func (e *Eraser) Run(ctx context.Context) error {
	_ = again(ctx, func(why string) { e.Log.Warn("pending erasures not taken up; trying again", "error", why) }, func() error {
		pending, err := e.Store.PendingErasures(ctx)
		for _, erasure := range pending {
			if _, err := e.start(ctx, erasure); err != nil {
				return fmt.Errorf("take up erasures/%s: %w", erasure.ID, err)
			}
		}
		return err
	}) // only the end of ctx ends it early
	for ctx.Err() == nil {
		if err := e.Store.Purge(ctx); err != nil && ctx.Err() == nil {
			e.Log.Warn("what was deleted is on disk for another day", "error", err)
		}
		_ = pause.For(ctx, purgeEvery) // the end of ctx is seen above
	}
	return nil
}

// erase does all there is to do, in an order in which a crash costs repeats only. What fails is tried until it succeeds: only the
// end of ctx ends it early, and the next start takes it up.
func (e *Eraser) erase(ctx context.Context, erasure audience.Erasure, task *run.Task) error {
	user := erasure.User
	var deleted time.Time
	for _, step := range []struct {
		stage string
		do    func(context.Context) error
	}{
		{"stopping", func(ctx context.Context) error { return e.stop(ctx, user) }},
		{"deleting what is stored", func(ctx context.Context) error {
			err := e.deleteStored(ctx, user)
			deleted = time.Now()
			return err
		}},
		{"waiting for platforms", func(ctx context.Context) error { return e.confirm(ctx, erasure, task) }},
		{"waiting for trainings that have read of the user", func(ctx context.Context) error { return e.trained(ctx, deleted) }},
		{"deleting what was stored meanwhile", func(ctx context.Context) error { return e.deleteStored(ctx, user) }},
		{"deleting the ledger's rows", func(ctx context.Context) error { return e.Store.DeleteLedger(ctx, user) }},
		{"leaving the tombstone", func(ctx context.Context) error { return e.Store.EndErasure(ctx, erasure) }},
	} {
		task.Progress(step.stage, 0, 0)
		err := again(ctx, func(why string) { task.Progress(step.stage+": "+why, 0, 0) }, func() error { return step.do(ctx) })
		if err != nil {
			return err
		}
	}
	task.Note("nothing of the user is stored any more")
	return nil
}

// deleteStored deletes what is stored but the ledger: whom platforms hold must be known until they do not.
func (e *Eraser) deleteStored(ctx context.Context, user audience.UserID) error {
	if err := e.Store.DeleteUser(ctx, user); err != nil {
		return err
	}
	if err := e.Membership.Forget(ctx, user); err != nil {
		return err
	}
	return e.Store.DeleteMembership(ctx, user)
}

// trained is an error while trainings are under way that began before what they read was deleted: they write a score of the user.
func (e *Eraser) trained(ctx context.Context, deleted time.Time) error {
	under, err := e.Runs.List(ctx, audience.RunFilter{Kind: audience.RunTrain, State: audience.RunRunning}, "", 1000)
	if err != nil {
		return err
	}
	for _, training := range under {
		if training.CreateTime.Before(deleted) {
			return fmt.Errorf("runs/%s is under way", training.ID)
		}
	}
	return nil
}

// again does something until it succeeds or ctx ends; tell hears why it waits.
func again(ctx context.Context, tell func(why string), do func() error) error {
	return retry.UntilDone(ctx, do, func(err error, _ time.Duration) { tell(err.Error()) })
}
