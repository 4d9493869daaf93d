package segmenter

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Database runs the statements this package composes.
type Database interface {
	Exec(ctx context.Context, q audience.Query) error
	// Select calls each once a row; scan fills pointers in the order of the columns. It stops at the first error.
	Select(ctx context.Context, q audience.Query, each func(scan func(dest ...any) error) error) error
}

// Log is the durable log of membership, and what is kept beside it.
type Log interface {
	// Excerpts yields of each of the users, in any order, what an evaluation selects and the membership on record. An excerpt
	// is valid until the next.
	Excerpts(ctx context.Context, users []audience.UserID, selection audience.Selection) iter.Seq2[*audience.Excerpt, error]
	// Stage runs an evaluation of everybody (rows of user_id String, segments Array(UInt32), due Int64 in milliseconds) into a
	// table of its own, which Unstage drops.
	Stage(ctx context.Context, q audience.Query) (staged string, err error)
	Unstage(ctx context.Context, staged string) error
	// StagedChanges yields the users, in UserID order, whose staged membership is not the one on record; users on record
	// whom the evaluation does not name hold no segment.
	StagedChanges(ctx context.Context, staged string) iter.Seq2[audience.Change, error]

	AppendChanges(ctx context.Context, changes []audience.Change) error
	LastVersion(ctx context.Context) (uint64, error)
	LastChange(ctx context.Context) (time.Time, error) // the instant of the newest changes; zero when there are none
	ChangesAfter(ctx context.Context, version uint64) iter.Seq2[audience.Change, error]
	// ChangesBehind are up to limit changes behind a user of a version, by version, then user.
	ChangesBehind(ctx context.Context, version uint64, user audience.UserID, limit int) ([]audience.Change, error)
	Members(ctx context.Context) iter.Seq2[audience.Membership, error]

	AddTimers(ctx context.Context, timers []audience.Timer) error
	AddStagedTimers(ctx context.Context, staged string) error
	// Timers yields the timers due after an instant and not after another.
	Timers(ctx context.Context, after, until time.Time) iter.Seq2[audience.Timer, error]
	DropTimers(ctx context.Context, until time.Time) error

	// PutEdition is durable when it returns without error; after an error it may be. A repeat is harmless.
	PutEdition(ctx context.Context, edition *audience.Edition) error
	Editions(ctx context.Context) ([]*audience.Edition, error) // by version
	// Turned yields up to limit users (0: all) behind one, by UserID, who at a version of the log hold one of the two numbers of
	// a renumbered segment. Of their segments only those numbers count.
	Turned(ctx context.Context, version uint64, renumbered []audience.Renumbered, after audience.UserID, limit int) iter.Seq2[audience.Membership, error]
	// Without yields the users on record who hold one of the numbers, by UserID, as the change by which they do no more.
	Without(ctx context.Context, gone []audience.Number) iter.Seq2[audience.Change, error]

	// WriteMove makes a move durable as pins. A repeat of a request does not overtake what came after its first writing.
	WriteMove(ctx context.Context, move audience.Move, numbers map[audience.SegmentID]audience.Number, now time.Time) (repeated bool, err error)
}

// Projection is what reads come from; it follows the log and may be lost at any time.
type Projection interface {
	Apply(ctx context.Context, changes []audience.Change) error
	Version(ctx context.Context) (uint64, error) // ErrUnavailable when it is away, ErrPrecondition when it is empty
	Rebuild(ctx context.Context, version uint64, members iter.Seq2[audience.Membership, error]) error
}

// Catalogue is where segments and models are kept.
type Catalogue interface {
	Segments(ctx context.Context) ([]audience.Segment, error)
	Models(ctx context.Context) ([]audience.Model, error)
	// Publish makes a complete version of a model the one that reads see.
	Publish(ctx context.Context, model audience.Model, version audience.ModelVersion) error
	// ModelVersion is the version on record; ErrNotFound when there is none.
	ModelVersion(ctx context.Context, model audience.Number, version uint32) (audience.ModelVersion, error)
	// NextModelVersion is a number above every version ever begun for the model, and removes what an interrupted training left.
	NextModelVersion(ctx context.Context, model audience.Number) (uint32, error)
}

// Deps are what a Segmenter works with. All but ReadElsewhere are required.
type Deps struct {
	Database   Database
	Log        Log
	Projection Projection
	Catalogue  Catalogue
	People     People
	Logger     *slog.Logger
	Now        func() time.Time
	// ReadElsewhere is how long other processes may go on reading by definitions no longer in force. 0: there are no others.
	ReadElsewhere time.Duration
}

// Segmenter is the one writer of membership and scores. It is safe for concurrent use.
type Segmenter struct {
	Deps
	projector projector
	queue     queue
	timers    timers
	watchers  watchers
	editions  editions
	version   atomic.Uint64               // the log's newest; 0 while unknown
	epoch     int64                       // of freshness tokens: nanoseconds since 1970 at which this process began
	started   chan struct{}               // closed once everybody was evaluated
	lagTold   time.Time                   // by the live loop
	inForce   atomic.Pointer[definitions] // what steps evaluate; nil before the first evaluation of everybody; set with evaluating held

	everybody sync.Mutex // one evaluation of everybody at a time

	// evaluating is held from reading the membership on record to having appended the changes, so that steps of one user
	// follow one another. It guards what follows.
	evaluating sync.Mutex
	halfway    bool                         // an evaluation of everybody failed when its definitions were in force already
	overtaken  map[audience.UserID]struct{} // users evaluated by steps since an evaluation of everybody began; nil when none is under way
}

// New makes a Segmenter. Run keeps membership live and its projection in step.
func New(deps Deps) *Segmenter {
	return &Segmenter{
		Deps: deps, projector: newProjector(deps), queue: newQueue(), watchers: newWatchers(),
		epoch: time.Now().UnixNano(), started: make(chan struct{}),
	}
}

// Run keeps membership live, and its projection in step with the log, until ctx ends.
func (s *Segmenter) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { s.projector.run(ctx) })
	running.Go(func() { s.live(ctx) })
	running.Wait()
	return nil
}

// Rebuild rebuilds the projection from the log.
func (s *Segmenter) Rebuild(ctx context.Context) error { return s.projector.rebuild(ctx) }

// Progress hears how far long work has come: done of total units, total 0 while unknown.
type Progress func(stage string, done, total int64)
