package segmenter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
)

const (
	// stepPause is the least time between the beginnings of two steps: what is touched meanwhile is evaluated together.
	stepPause = 250 * time.Millisecond
	// stepUsers bounds the users of one step.
	stepUsers = 20_000
	// mostLag is the lag from which on writers are slowed down, and slowed how long each of their calls waits.
	mostLag = 30 * time.Second
	slowed  = time.Second
	// toldLag is the lag from which on the log hears of it, and how often it does.
	toldLag = 5 * time.Second
	// mostBehind is how far before the log's last change timers may not have been heard yet when the service ended, and
	// mostCaughtUp how many users are caught up with before everybody is evaluated.
	mostBehind   = 10 * time.Second
	mostCaughtUp = 100_000
)

// retry is how the loop waits after a failure.
var retry = pause.Doubling{First: 250 * time.Millisecond, Most: 10 * time.Second}

// What the log names as the cause of a change that nobody's run has made.
const (
	CauseStart   = "start"   // everybody is evaluated when the service starts
	CauseEvent   = "event"   // an event came in
	CauseProfile = "profile" // a profile changed
	CauseTime    = "timer"   // time passed
)

// Touch says that what is known of the users has changed, and is durable. They are evaluated within the next steps; the
// token answers Wait. Users may repeat.
func (s *Segmenter) Touch(users []audience.UserID, cause string) (token string) {
	return s.token(s.queue.touch(users, cause))
}

// Admit slows a writer down for a moment while evaluation lags by more than half a minute. It never refuses.
func (s *Segmenter) Admit(ctx context.Context) {
	if s.Lag().Oldest < mostLag {
		return
	}
	_ = pause.For(ctx, slowed) // the write itself sees the end of ctx
}

// Lag is how far membership is behind what is known.
type Lag struct {
	Users  int           // who wait to be evaluated
	Oldest time.Duration // how long the first of them has waited
}

// Lag reports it as of now.
func (s *Segmenter) Lag() Lag {
	_, _, since := s.queue.state()
	s.queue.mu.Lock()
	lag := Lag{Users: len(s.queue.waiting)}
	s.queue.mu.Unlock()
	if !since.IsZero() {
		lag.Oldest = time.Since(since)
	}
	return lag
}

// tellLag logs the lag when it is large, now and then.
func (s *Segmenter) tellLag() {
	lag := s.Lag()
	if lag.Oldest < toldLag || time.Since(s.lagTold) < toldLag {
		return
	}
	s.lagTold = time.Now()
	s.Logger.Warn("membership lags behind what is known", "users", lag.Users, "oldest", lag.Oldest)
}

// live evaluates everybody, which makes good whatever happened while the service was down, and from then on whoever was
// touched, and whose time has come, until ctx ends.
func (s *Segmenter) live(ctx context.Context) {
	s.untilDone(ctx, "evaluate everybody", func() error { return s.start(ctx) })
	if ctx.Err() != nil {
		return
	}
	close(s.started)
	var next time.Time // of a step with those who wait
	for ctx.Err() == nil {
		s.completeHalfway(ctx)
		if due := s.due(ctx); len(due) > 0 {
			s.queue.touch(due, CauseTime)
		}
		hurry, waiting, _ := s.queue.state()
		turn := waiting > 0 && !time.Now().Before(next)
		if !hurry && !turn {
			s.rest(ctx, next, waiting > 0)
			continue
		}
		if turn {
			next = time.Now().Add(stepPause)
		}
		taken := s.queue.take(stepUsers, turn)
		if turn { // what fell due before these touches were made is not older than they are
			for _, user := range s.due(ctx) {
				if _, touched := taken.causes[user]; !touched {
					taken.causes[user] = CauseTime
				}
			}
		}
		s.step(ctx, taken)
		s.tellLag()
	}
}

// start evaluates everybody now; timers are followed from that instant on.
func (s *Segmenter) start(ctx context.Context) error {
	at, began := s.Now(), time.Now()
	if err := s.catchUp(ctx, at); err != nil {
		return err
	}
	result, err := s.evaluateEverybody(ctx, time.Time{}, CauseStart, false, func(string, int64, int64) {})
	if err != nil && !errors.Is(err, errBehind) { // what is behind is completed later
		return err
	}
	s.timers.begin(at)
	s.Logger.Info("membership is live", "changed", result.Changed, "took", time.Since(began))
	return nil
}

// catchUp evaluates those whose time came while the service was down, ahead of everybody, which takes longer. Whom it
// misses, or cannot do sooner, everybody includes.
func (s *Segmenter) catchUp(ctx context.Context, at time.Time) error {
	last, err := s.Log.LastChange(ctx)
	if err != nil || last.IsZero() {
		return err
	}
	var users []audience.UserID
	for timer, err := range s.Log.Timers(ctx, last.Add(-mostBehind), at) {
		if err != nil {
			return fmt.Errorf("read the timers that have fallen due: %w", err)
		}
		users = append(users, timer.User)
	}
	if users = SortUsers(users); len(users) > mostCaughtUp {
		return nil
	}
	for some := range slices.Chunk(users, stepUsers) {
		if _, err := s.evaluateSome(ctx, some, time.Time{}, func(audience.UserID) string { return CauseTime }, func(string, int64, int64) {}); err != nil {
			return err
		}
	}
	return nil
}

// completeHalfway repeats an evaluation of everybody that failed with some users done.
func (s *Segmenter) completeHalfway(ctx context.Context) {
	s.evaluating.Lock()
	halfway := s.halfway
	s.evaluating.Unlock()
	if !halfway || !s.projector.has(0) || !s.everybody.TryLock() {
		return
	}
	s.everybody.Unlock()
	s.untilDone(ctx, "complete an evaluation of everybody", func() error {
		_, err := s.evaluateEverybody(ctx, time.Time{}, CauseStart, false, func(string, int64, int64) {})
		if errors.Is(err, errBehind) {
			return nil // again when the projection is back
		}
		return err
	})
}

// due takes the users whose time has come. It waits until the timers can be read: a token stands for those due before it, too.
func (s *Segmenter) due(ctx context.Context) []audience.UserID {
	now := s.Now()
	s.untilDone(ctx, "read timers", func() error { return s.timers.look(ctx, s.Log, now) })
	return s.timers.take(now)
}

// rest waits until there may be something to do: a touch, the next turn, the next timer.
func (s *Segmenter) rest(ctx context.Context, next time.Time, waiting bool) {
	wait := s.timers.until(s.Now())
	if waiting {
		wait = min(wait, time.Until(next))
	}
	timer := time.NewTimer(min(max(wait, time.Millisecond), stepPause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-s.queue.wake:
	}
}

// step evaluates users, again and again until it succeeds: what is touched is never forgotten.
func (s *Segmenter) step(ctx context.Context, taken step) {
	users := slices.Sorted(maps.Keys(taken.causes))
	s.untilDone(ctx, "evaluate touched users", func() error {
		var err error
		if len(users) > 0 {
			_, err = s.evaluateSome(ctx, users, time.Time{}, func(user audience.UserID) string { return taken.causes[user] }, func(string, int64, int64) {})
		}
		for _, u := range taken.urgent {
			u.done <- err
		}
		taken.urgent = nil
		return err
	})
	if ctx.Err() == nil {
		s.queue.finish(taken)
	}
}

// untilDone repeats what fails, with growing pauses, until ctx ends.
func (s *Segmenter) untilDone(ctx context.Context, doing string, do func() error) {
	_ = retry.UntilDone(ctx, do, func(err error, wait time.Duration) { // only the end of ctx ends it early
		s.Logger.Warn("membership falls behind; trying again", "doing", doing, "error", err, "pause", wait)
	})
}
