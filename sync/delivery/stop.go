package delivery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
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
}

func (d *Deliverer) lineOf(id audience.AudienceID) *line {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lines[id]
	if l == nil {
		l = &line{sends: make(chan struct{}, 1)}
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
}

// take gives the users to look at, nil for everybody, and forgets them; some is false when there are none.
func (l *line) take() (users []audience.UserID, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	users, some = l.users, l.every || len(l.users) > 0
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
	if err := s.stopAll(ctx, users); err != nil {
		return err
	}
	if s.report.Requests > 0 {
		d.Log.Info("users stopped", "audience", id, "users", s.tried[removal], "requests", s.report.Requests, "took", time.Since(s.begun))
	}
	return nil
}

// stopAll removes those of the users (nil: of everybody) who are held though they must not be.
func (s *sending) stopAll(ctx context.Context, users []audience.UserID) error {
	r := &round{sending: s, op: destination.Remove, urgent: true}
	if users == nil {
		return s.pass(ctx, r, math.MaxInt64)
	}
	for some := range slices.Chunk(users, s.pageUsers) {
		var page []audience.SyncRow
		for row, err := range s.Ledger.SyncRows(ctx, s.scope, audience.SyncRange{Users: some, Stops: true}) {
			if err != nil {
				return fmt.Errorf("read whom to stop: %w", err)
			}
			page = append(page, row)
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
	s.unstopped = s.unstopped || err != nil
	if busy(err) {
		return nil
	}
	return err
}

// overtake sends the stops that have come in since, before the round goes on without the users concerned. A round of stops
// is overtaken by none.
func (r *round) overtake(ctx context.Context) error {
	if r.urgent {
		return nil
	}
	for users, some := r.line.take(); some; users, some = r.line.take() {
		if err := r.record(ctx); err != nil {
			return err
		}
		for _, user := range users {
			if f := r.fates[user]; f != nil {
				f.dropped = true
			}
		}
		if err := r.stopNow(ctx, users); err != nil {
			return err
		}
	}
	return nil
}
