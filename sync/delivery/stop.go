package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/plan"
)

// stopAgain is how long stops wait that could not be sent.
const stopAgain = 30 * time.Second

// line is where the requests of one audience stand in order: one at a time, stops before all others.
type line struct {
	syncing sync.Mutex    // held by a sync, from its planning on
	sends   chan struct{} // full while somebody sends requests that change the members
	tenure  tenure

	mu    sync.Mutex
	users []audience.UserID // who may have to be stopped
	every bool              // anybody may
	rings chan struct{}     // holds a token when somebody was put there
}

func (d *Deliverer) lineOf(id audience.AudienceID) *line {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lines[id]
	if l == nil {
		l = &line{sends: make(chan struct{}, 1), rings: make(chan struct{}, 1)}
		d.lines[id] = l
	}
	return l
}

// put adds users to look at; nil means everybody.
func (l *line) put(users []audience.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.every = l.every || users == nil
	l.users = append(l.users, users...)
	select {
	case l.rings <- struct{}{}:
	default:
	}
}

// take gives the users to look at, each once, nil for everybody, and forgets them; some is false when there are none.
func (l *line) take() (users []audience.UserID, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.users)
	users, some = slices.Compact(l.users), l.every || len(l.users) > 0
	if l.every {
		users = nil
	}
	l.users, l.every = nil, false
	return users, some
}

func (l *line) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.every || len(l.users) > 0
}

// leave ends the sending on a line. Who was put there too late for it is for Run.
func (d *Deliverer) leave(l *line) {
	<-l.sends
	if l.waits() {
		d.wake()
	}
}

func (d *Deliverer) wake() {
	select {
	case d.stopped <- struct{}{}:
	default:
	}
}

// Stop writes stops down and has them sent at once; they are certain to be carried out when it returns. A sync under way
// sends them before its next request, whatever it has queued; where there is none, Run does.
func (d *Deliverer) Stop(ctx context.Context, stops []audience.Stop) error {
	if err := d.Ledger.RecordStops(ctx, stops); err != nil {
		return err
	}
	users := make([]audience.UserID, len(stops))
	for i, stop := range stops {
		users[i] = stop.User
	}
	return d.Withdrawn(ctx, users)
}

// Withdrawn has users looked at whose consent was withdrawn: who may be held without consent is removed as by Stop. The
// consents must be stored already. If the call is lost with the process, the next start finds these users.
func (d *Deliverer) Withdrawn(ctx context.Context, users []audience.UserID) error {
	if d.Announce != nil {
		d.Announce(ctx, users)
	}
	all, err := d.Catalogue.Audiences(ctx)
	if err != nil {
		return fmt.Errorf("list audiences to stop users in: %w", err)
	}
	for _, a := range all {
		d.lineOf(a.ID).put(users)
	}
	d.wake()
	return nil
}

// Heard has users looked at of whom another process was told. It is for syncs that are under way here, of which that process
// cannot carry out the stops before they end.
func (d *Deliverer) Heard(users []audience.UserID) {
	d.mu.Lock()
	lines := slices.Collect(maps.Values(d.lines))
	d.mu.Unlock()
	for _, l := range lines {
		if l.tenure.held() {
			l.put(users)
		}
	}
}

// Run carries out stops while no sync is under way, of disabled audiences, too, and at its start those that an earlier
// process has left. It returns when ctx has ended and all that it began has.
func (d *Deliverer) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	again := time.NewTimer(0)
	for everybody := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-d.stopped:
		case <-again.C:
			again.Reset(stopAgain)
		}
		all, err := d.Catalogue.Audiences(ctx)
		if err != nil {
			d.Log.Warn("audiences to stop users in not listed", "error", err)
			continue
		}
		for _, a := range all {
			l := d.lineOf(a.ID)
			if everybody {
				l.put(nil)
			}
			if !l.waits() {
				continue
			}
			select {
			case l.sends <- struct{}{}:
				working.Go(func() { d.carryOut(ctx, a.ID, l) })
			default: // whoever sends now looks at them before the next request
			}
		}
		everybody = false
	}
}

// carryOut sends the stops of one audience; its sends are the caller's, and carryOut gives them back.
func (d *Deliverer) carryOut(ctx context.Context, id audience.AudienceID, l *line) {
	users, some := l.take()
	var err error
	if some {
		err = d.stopIn(ctx, id, users)
	}
	if err != nil && !errors.Is(err, audience.ErrNotFound) {
		d.Log.Warn("stops not sent yet", "audience", id, "error", err)
		l.put(users)
		<-l.sends // and wake nobody: the next attempt is not due before stopAgain
		return
	}
	d.leave(l)
}

func (d *Deliverer) stopIn(ctx context.Context, id audience.AudienceID, users []audience.UserID) error {
	t, err := d.target(ctx, id)
	if err != nil || t.audience.PlatformID == "" {
		return err // nothing was ever sent there
	}
	release, err := d.hold(ctx, &t)
	if err != nil {
		return err
	}
	defer release()
	s := &sending{Deliverer: d, target: t, run: "stops", progress: func(string, int64, int64) {}, begun: time.Now()}
	err = s.stopAll(ctx, users)
	if err == nil && len(s.sharers) > 0 {
		err = d.setValues(ctx, &s.target)
	}
	if err == nil {
		err = s.restore(ctx)
	}
	if left := append(s.sharers, s.unrestored...); len(left) > 0 {
		t.line.put(left)
	}
	if s.report.Requests > 0 {
		d.Log.Info("users stopped", "audience", id, "users", s.tried[removal], "restored", s.report.Restored.Confirmed+s.report.Additions.Confirmed,
			"requests", s.report.Requests, "took", time.Since(s.begun))
	}
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// urgentFirst sends the stops that have come in, and restores whom they have taken along, until nothing is urgent any more.
// leaveOut hears whom to go on without.
func (s *sending) urgentFirst(ctx context.Context, leaveOut func([]audience.UserID)) error {
	for {
		if users, some := s.line.take(); some {
			leaveOut(users)
			if err := s.stopNow(ctx, users); err != nil {
				return err
			}
			continue
		}
		if len(s.sharers) == 0 {
			return nil
		}
		if err := s.restore(ctx); err != nil && !errors.Is(err, errOvertaken) && !busy(err) {
			return err
		}
	}
}

// stopAll removes those of the users (nil: of everybody) who are held though they must not be, and finds whom to restore.
func (s *sending) stopAll(ctx context.Context, users []audience.UserID) error {
	r := s.round(destination.Remove)
	r.urgent, r.overtake = true, func(context.Context) error { return nil }
	if users == nil {
		return s.pass(ctx, r)
	}
	for some := range slices.Chunk(users, s.pageUsers) {
		page, _, err := s.read(ctx, &audience.SyncRange{Users: some, Urgent: true}, len(some)+1, r.takes)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			continue
		}
		if err := r.page(ctx, page); err != nil {
			return err
		}
	}
	return r.judge(ctx)
}

// stopNow is stopAll within a sync. Stops the platform refuses for now wait for the end of the sync; others must not.
func (s *sending) stopNow(ctx context.Context, users []audience.UserID) error {
	err := s.stopAll(ctx, users)
	if err != nil {
		s.unstopped = err
	}
	if busy(err) {
		return nil
	}
	return err
}

// errOvertaken ends a restoring that stops have to go before.
var errOvertaken = errors.New("stops go first")

// restore sends those again whom stops may have taken along, because they share an identifier with a stopped user. It does
// not wait for the adds of a sync, which may be hours away. Whom it could not restore Run tries again.
func (s *sending) restore(ctx context.Context) error {
	sharers := s.sharers
	r := s.round(destination.Add)
	r.urgent = true
	r.overtake = func(ctx context.Context) error {
		if s.line.waits() {
			return errOvertaken
		}
		return nil
	}
	for some := range slices.Chunk(sharers, s.pageUsers) {
		page, _, err := s.read(ctx, &audience.SyncRange{Users: some, Urgent: true}, len(some)+1,
			func(row audience.SyncRow) bool { return shares(row) && plan.Of(row) == plan.Add })
		if err == nil && len(page) > 0 {
			err = errors.Join(r.page(ctx, page), r.record(ctx))
		}
		if err == nil {
			err = r.judge(ctx)
		}
		if errors.Is(err, errOvertaken) {
			return err
		}
		if err != nil {
			s.sharers, s.unrestored = nil, append(s.unrestored, sharers...)
			return err
		}
	}
	s.sharers = nil
	return nil
}
