package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// Progress hears how far a sync has come: done of total users; total 0 while unknown.
type Progress func(stage string, done, total int64)

// Sync makes the platform hold what the audience should hold, as far as it can today; approved says that a person
// has approved the plan that was held. The report tells all, also beside an error. An error that is a *destination.Error is the
// platform's and says what to do; everything left is part of the next sync.
func (d *Deliverer) Sync(ctx context.Context, id audience.AudienceID, run audience.RunID, approved bool, progress Progress) (Report, error) {
	line := d.lineOf(id)
	if !line.syncing.TryLock() {
		return Report{}, fmt.Errorf("audience %s is being synced already: %w", id, audience.ErrConflict)
	}
	defer line.syncing.Unlock()
	t, err := d.target(ctx, id)
	if err != nil {
		return Report{}, err
	}
	if t.audience.Disabled {
		return Report{}, fmt.Errorf("audience %s is disabled; enable it first: %w", id, audience.ErrPrecondition)
	}
	if err := d.setValues(ctx, &t); err != nil {
		return Report{}, err
	}
	release, err := d.hold(ctx, &t)
	if err != nil {
		return Report{}, err
	}
	defer release()
	if err := d.findMade(ctx, &t, run); err != nil {
		return Report{}, fmt.Errorf("sync audience %s: %w", id, err)
	}
	progress("planning", 0, 0)
	p, evidence, err := d.plan(ctx, t)
	if err != nil {
		return Report{}, err
	}
	s := &sending{Deliverer: d, target: t, evidence: evidence, run: run, progress: progress, begun: time.Now(),
		leavers: p.Removals - p.Stops, changers: p.Changes, total: p.Additions + p.Removals + 2*p.Changes + p.Revalued}
	s.report.Plan = p
	s.report.Additions.Planned, s.report.Removals.Planned, s.report.Changes.Planned = p.Additions, p.Removals, p.Changes
	s.report.Revalued.Planned = p.Revalued
	if s.report.Held, err = s.holds(ctx, approved); err == nil {
		err = s.send(ctx)
	}
	s.close(err == nil && !s.report.Held)
	d.Log.Info("audience synced", "audience", id, "run", run, "held", s.report.Held, "additions", s.report.Additions.Confirmed,
		"removals", s.report.Removals.Confirmed, "changes", s.report.Changes.Confirmed, "revalued", s.report.Revalued.Confirmed, "requests", s.report.Requests, "took", time.Since(s.begun))
	if err != nil {
		return s.report, fmt.Errorf("sync audience %s: %w", id, err)
	}
	return s.report, nil
}

// sending is one sync under way.
type sending struct {
	*Deliverer
	target
	evidence plan.Evidence // the plan was judged by
	run      audience.RunID
	progress Progress
	stage    string // last shown
	begun    time.Time
	report   Report

	tried       [kinds]int64      // users whose intent is in the ledger
	leavers     int64             // who may be removed yet for having left: no more than planned, and approved if need be
	changers    int64             // who may be removed yet to be added under other identifiers
	done, total int64             // ledger rows settled, of so many
	unstopped   error             // why some stops could not be sent
	sharers     []audience.UserID // whom stops may have taken along, to be restored
	unrestored  []audience.UserID // of them, those who could not be
}

// round is one operation of a sync for a stream of users.
type round struct {
	*sending
	op       destination.Op
	urgent   bool     // of stops and what they have taken along
	rebuilds *rebuild // whose round it is, or nil

	apply    func(ctx context.Context, b destination.Batch) (destination.Result, error)
	overtake func(ctx context.Context) error // before each request

	suspects    []suspect
	fates       map[audience.UserID]*fate // of the page being sent
	ended       []*fate                   // not in the ledger yet
	unconfirmed []*fate                   // of a rebuild, likewise

	accepted bool // the platform has taken a row of the batch being sent
	spare    int  // requests left for finding its bad rows
}

// round is an ordinary one of adds or removals: each batch is a request, and stops overtake it.
func (s *sending) round(op destination.Op) *round {
	r := &round{sending: s, op: op}
	r.apply = func(ctx context.Context, b destination.Batch) (destination.Result, error) {
		return s.destination.Apply(ctx, s.audience.PlatformID, b)
	}
	r.overtake = func(ctx context.Context) error {
		if err := r.record(ctx); err != nil {
			return err
		}
		return s.urgentFirst(ctx, r.leaveOut)
	}
	return r
}

// leaveOut goes on without users.
func (r *round) leaveOut(users []audience.UserID) {
	for _, user := range users {
		if f := r.fates[user]; f != nil {
			f.dropped = true
		}
	}
	for _, suspect := range r.suspects { // of pages before
		if slices.Contains(users, suspect.fate.user) {
			suspect.fate.dropped = true
		}
	}
}

func (r *round) urgency() urgency {
	switch {
	case r.urgent:
		return stopping
	case r.op == destination.Remove:
		return removing
	}
	return adding
}

// send stops, asks for the audience, then, unless the plan is held, does the plan in the way chosen: all at once, or
// removals, then adds, which also settle what a rebuild has left.
func (s *sending) send(ctx context.Context) (err error) {
	select {
	case s.line.sends <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		if s.unstopped != nil {
			s.line.put(nil)
			err = cmp.Or(err, s.unstopped)
		}
		if left := append(s.sharers, s.unrestored...); len(left) > 0 {
			s.line.put(left)
		}
		s.leave(s.line)
	}()
	p := s.report.Plan
	byFiles := p.Way == string(destination.ByFile) && !s.report.Held // they leave the stopped out, too
	if p.Stops > 0 && s.audience.PlatformID != "" && !byFiles {
		s.line.put(nil) // all of them go now
		if err := s.urgentFirst(ctx, func([]audience.UserID) {}); err != nil {
			return s.goneOr(ctx, err)
		}
	}
	if err := s.ensureAudience(ctx, byFiles); err != nil || s.report.Held {
		return err
	}
	switch {
	case byFiles:
		if err := s.byFiles(ctx); err != nil {
			return err
		}
	case p.Way == string(destination.ByReplace):
		if err := s.replace(ctx); err != nil {
			return err
		}
	default:
		return s.byDiff(ctx)
	}
	if err := s.urgentFirst(ctx, func([]audience.UserID) {}); err != nil {
		return err
	}
	return s.byDiff(ctx)
}

// byDiff removes, then adds.
func (s *sending) byDiff(ctx context.Context) error {
	var busyRemoving error
	if s.leavers > 0 || s.changers > 0 {
		busyRemoving = s.pass(ctx, s.round(destination.Remove))
	}
	if busyRemoving != nil && !busy(busyRemoving) {
		return busyRemoving
	}
	if err := s.pass(ctx, s.round(destination.Add)); err != nil {
		return err
	}
	if busyRemoving != nil {
		return busyRemoving
	}
	return s.remember(ctx)
}

// busy reports whether the platform takes no such change of the audience now. It may take others: one that refuses
// removals because the audience would get too small wants adds.
func busy(err error) bool {
	var failure *destination.Error
	return errors.As(err, &failure) && failure.Kind == destination.Busy
}

// pass does one operation, page by page. Each page is read anew, behind the one before: who was sent meanwhile is no longer
// among the rows, or is left to the next sync.
func (s *sending) pass(ctx context.Context, r *round) error {
	within := audience.SyncRange{Urgent: r.urgent, Held: r.op == destination.Remove}
	for more := true; more; {
		page, others, err := s.readAside(ctx, r, &within)
		if err != nil {
			return err
		}
		more = others
		if len(page) == 0 {
			continue
		}
		if err := r.page(ctx, page); err != nil {
			return err
		}
	}
	return r.judge(ctx)
}

// takes reports whether a user is for the round. A change that is still one has not been removed, so it is not to be added;
// no more is removed than was planned: who left since is the next sync's.
func (r *round) takes(row audience.SyncRow) bool {
	if r.urgent && !row.Stop {
		r.sharers = append(r.sharers, row.User)
		return false
	}
	step := plan.Of(row)
	switch {
	case r.op == destination.Add:
		return step == plan.Add || step == plan.Revalue
	case step == plan.Change:
		r.changers--
		return r.changers >= 0
	case step == plan.Remove && !row.Stop:
		r.leavers--
		return r.leavers >= 0
	}
	return step == plan.Remove
}

// readAside reads the next page of a round. That takes a while, so the stops that come meanwhile are sent meanwhile; whom they
// concern is not in the page.
func (s *sending) readAside(ctx context.Context, r *round, within *audience.SyncRange) (page []audience.SyncRow, more bool, err error) {
	if r.urgent {
		return s.read(ctx, within, s.pageUsers, r.takes)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		page, more, err = s.read(ctx, within, s.pageUsers, r.takes)
	}()
	stopped := map[audience.UserID]bool{}
	var failed error
	for {
		select {
		case <-s.line.rings:
			if failed == nil {
				failed = s.urgentFirst(ctx, func(users []audience.UserID) {
					r.leaveOut(users)
					for _, user := range users {
						stopped[user] = true
					}
				})
			}
		case <-read:
			page = slices.DeleteFunc(page, func(row audience.SyncRow) bool { return stopped[row.User] })
			return page, more, errors.Join(err, failed)
		}
	}
}

// read reads the next page of a range, up to size users that are taken, and moves the range behind them; more says that
// there may be others.
func (s *sending) read(ctx context.Context, within *audience.SyncRange, size int, takes func(audience.SyncRow) bool) (page []audience.SyncRow, more bool, err error) {
	within.Page = size
	for row, err := range s.Ledger.SyncRows(ctx, s.scope, *within) {
		if err != nil {
			return nil, false, fmt.Errorf("read target and ledger: %w", err)
		}
		if !takes(row) {
			continue
		}
		if page = append(page, row); len(page) == size {
			break
		}
	}
	if len(page) > 0 {
		within.After = page[len(page)-1].User
	}
	return page, len(page) == size, nil
}

// close completes the report.
func (s *sending) close(finished bool) {
	for kind, outcome := range s.report.outcomes() {
		outcome.close(s.tried[kind], finished)
	}
}
