package segmenter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// followPause is how often the projector looks whether the projection is still there and in step.
const followPause = time.Second

// awaitAtMost is how long a caller waits for a projection that is away or being rebuilt.
const awaitAtMost = 5 * time.Second

// projector carries the log into the projection, in the log's order. While the projection is away, changes stay in the
// log only; when it is back, it is caught up from its own version, or rebuilt when it came back empty.
type projector struct {
	log        Log
	projection Projection
	logger     *slog.Logger
	wake       chan struct{}

	mu      sync.Mutex
	applied uint64 // version of the log up to which the projection is known to be in step
	written uint64 // version of the last change applied to it; editions take versions, too, and are not applied
	inStep  bool

	told     sync.Mutex // guards what those who wait see of the above, even while mu is held for long
	position uint64     // applied plus one; 0 while out of step
	moved    chan struct{}
}

func newProjector(deps Deps) projector {
	return projector{
		log: deps.Log, projection: deps.Projection, logger: deps.Logger, wake: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// tell shows those who wait how far the projection has come.
func (p *projector) tell() {
	p.told.Lock()
	defer p.told.Unlock()
	p.position = 0
	if p.inStep {
		p.position = p.applied + 1
	}
	close(p.moved)
	p.moved = make(chan struct{})
}

// await returns once the projection has a version of the log, or an ErrUnavailable after a while in which it did not.
func (p *projector) await(ctx context.Context, version uint64) error {
	patience := time.NewTimer(awaitAtMost)
	defer patience.Stop()
	for {
		p.told.Lock()
		position, moved := p.position, p.moved
		p.told.Unlock()
		if position > version {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return &audience.UnavailableError{What: "membership in redis", RetryAfter: followPause}
		}
	}
}

// apply projects changes of one version that are durable already. A failure is not returned: run heals it.
func (p *projector) apply(ctx context.Context, changes []audience.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.inStep {
		return
	}
	if err := p.projection.Apply(ctx, changes); err != nil {
		p.lost(err)
		return
	}
	p.applied = changes[len(changes)-1].Version
	p.written = p.applied
	p.tell()
}

// has says whether the projection has everything up to a version.
func (p *projector) has(version uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inStep && p.applied >= version
}

// pass goes on to a version without changes.
func (p *projector) pass(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = max(p.applied, version)
	p.tell()
}

// missed says that the log may hold changes that apply was not given.
func (p *projector) missed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost(err)
}

func (p *projector) lost(err error) {
	p.inStep = false
	p.tell()
	p.logger.Warn("membership projection is behind the log", "error", err)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run checks the projection each second, and at once when an apply failed, and brings it in step again.
func (p *projector) run(ctx context.Context) {
	tick := time.NewTicker(followPause)
	defer tick.Stop()
	for {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, audience.ErrUnavailable) {
			p.logger.Error("membership projection could not be brought in step", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.wake:
		}
	}
}

// follow brings the projection to the end of the log. It costs one read of the projection's version when nothing is amiss.
func (p *projector) follow(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell()
	version, err := p.projection.Version(ctx)
	switch {
	case errors.Is(err, audience.ErrPrecondition): // empty: new or wiped
		p.inStep = false
		return p.rebuildLocked(ctx)
	case err != nil:
		p.inStep = false
		return err
	case p.inStep && version == p.written:
		return nil
	}
	p.inStep = false
	if err := p.replay(ctx, version); err != nil {
		return fmt.Errorf("replay the log from version %d: %w", version, err)
	}
	return nil
}

// replay applies the log from a version on (that version included: a crash may have left it half applied).
func (p *projector) replay(ctx context.Context, version uint64) error {
	last, err := p.log.LastVersion(ctx)
	if err != nil {
		return err
	}
	from := version
	if from > 0 {
		from--
	}
	p.written = version
	batch := make([]audience.Change, 0, 1024)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := p.projection.Apply(ctx, batch)
		p.written = batch[len(batch)-1].Version
		batch = batch[:0]
		return err
	}
	for change, err := range p.log.ChangesAfter(ctx, from) {
		if err != nil {
			return err
		}
		if len(batch) == changesBatch || len(batch) > 0 && batch[0].Version != change.Version {
			if err := flush(); err != nil {
				return err
			}
		}
		batch = append(batch, change)
	}
	if err := flush(); err != nil {
		return err
	}
	p.applied, p.inStep = last, true
	return nil
}

func (p *projector) rebuild(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell()
	return p.rebuildLocked(ctx)
}

// rebuildLocked writes the projection anew. Members are read after the version, so they may hold later changes already;
// replaying those is harmless, a change being the whole membership.
func (p *projector) rebuildLocked(ctx context.Context) error {
	begin := time.Now()
	version, err := p.log.LastVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the log's version: %w", err)
	}
	if err := p.projection.Rebuild(ctx, version, p.log.Members(ctx)); err != nil {
		return fmt.Errorf("rebuild the projection at version %d: %w", version, err)
	}
	p.logger.Info("membership projection rebuilt", "version", version, "took", time.Since(begin))
	return p.replay(ctx, version)
}
