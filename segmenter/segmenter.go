package segmenter

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// Database runs the statements this room composes.
type Database interface {
	Exec(ctx context.Context, q audience.Query) error
	// Select calls each once a row; scan fills pointers in the order of the columns. It stops at the first error.
	Select(ctx context.Context, q audience.Query, each func(scan func(dest ...any) error) error) error
}

// Log is the durable log of membership.
type Log interface {
	// Diff compares the membership q computes (user_id String, segments Array(UInt32)) with the one on record and yields
	// the users where they differ, in UserID order. With everybody, users on record whom q does not know hold no segment.
	Diff(ctx context.Context, q audience.Query, everybody bool) iter.Seq2[audience.Change, error]
	AppendChanges(ctx context.Context, changes []audience.Change) error
	LastVersion(ctx context.Context) (uint64, error)
	ChangesAfter(ctx context.Context, version uint64) iter.Seq2[audience.Change, error]
	Members(ctx context.Context) iter.Seq2[audience.Membership, error]
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

// Deps are what a Segmenter works with. All are required.
type Deps struct {
	Database   Database
	Log        Log
	Projection Projection
	Catalogue  Catalogue
	Logger     *slog.Logger
	Now        func() time.Time
}

// Segmenter is the one writer of membership and scores. It is safe for concurrent use; evaluations run one at a time.
type Segmenter struct {
	Deps
	evaluating sync.Mutex
	projector  projector
}

// New makes a Segmenter. Run keeps its projection in step.
func New(deps Deps) *Segmenter {
	return &Segmenter{Deps: deps, projector: projector{log: deps.Log, projection: deps.Projection, logger: deps.Logger, wake: make(chan struct{}, 1)}}
}

// Run brings the projection in step with the log and keeps it so until ctx ends.
func (s *Segmenter) Run(ctx context.Context) error { return s.projector.run(ctx) }

// Rebuild writes the projection anew from the log's state.
func (s *Segmenter) Rebuild(ctx context.Context) error { return s.projector.rebuild(ctx) }

// Progress hears how far long work has come: done of total units, total 0 while unknown.
type Progress func(stage string, done, total int64)

// program compiles the enabled segments, with the scores that are published.
func (s *Segmenter) program(ctx context.Context) (*expr.Program, []audience.Segment, error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, nil, err
	}
	var enabled []audience.Segment
	var sources []expr.Segment
	for _, segment := range segments {
		if !segment.Disabled {
			enabled = append(enabled, segment)
			sources = append(sources, expr.Segment{ID: segment.ID, Number: segment.Number, Expression: segment.Expression})
		}
	}
	scores, err := s.scores(ctx)
	if err != nil {
		return nil, nil, err
	}
	program, err := expr.Compile(sources, scores)
	return program, enabled, err
}

func (s *Segmenter) scores(ctx context.Context) ([]expr.Scores, error) {
	models, err := s.Catalogue.Models(ctx)
	if err != nil {
		return nil, err
	}
	scores := make([]expr.Scores, 0, len(models))
	for _, m := range models {
		scores = append(scores, expr.Scores{Model: m.ID, Kind: m.Kind, Number: m.Number, Version: m.Version})
	}
	return scores, nil
}
