package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

const (
	// lookEvery is how often the scheduler looks for work.
	lookEvery = 3 * time.Second
	// mostQuiet bounds how long changes wait, in quiet times of the job.
	mostQuiet = 10
	// again is how long a job waits after it could not be begun.
	again = 30 * time.Second
)

// Job is work that can begin by itself.
type Job struct {
	Kind     audience.RunKind
	Subject  string // resource name
	Schedule audience.Schedule
	Since    time.Time       // what fell due before it counts as done: the resource was another
	Segment  audience.Number // whose changes start it; 0: none
	Held     bool            // a plan of it waits for approval
	Doubtful bool            // the outcome of a request is unknown and must be settled
}

// Deps are what a Scheduler works with. All are required.
type Deps struct {
	// Jobs are all there are, also those without a schedule.
	Jobs func(ctx context.Context) ([]Job, error)
	// LastRuns are the newest runs of each kind and subject that have a run not older than from ("": all). Times are of Now's
	// clock.
	LastRuns func(ctx context.Context, from audience.RunID) ([]audience.LastRun, error)
	// Changes are the segments whose members have changed in the log after a version and a time, with the time of the last
	// change, and the newest version.
	Changes func(ctx context.Context, version uint64, since time.Time) (map[audience.Number]time.Time, uint64, error)
	// Begin starts a run of a job, with its Kind, Subject, Occasion, Due and Resumes. ErrConflict while one is under way in any
	// process, or when the newest run is not the one named.
	Begin func(ctx context.Context, job Job, run audience.Run, newest audience.RunID) error
	Now   func() time.Time
	Log   *slog.Logger
}

// Scheduler begins runs.
type Scheduler struct {
	Deps
	last    map[string]audience.LastRun // by kind and subject
	seen    time.Time                   // when last was read last; zero: never
	version uint64                      // of the log, up to which changes are known
	changes map[audience.Number]movement
	pauses  map[string]time.Time         // of jobs that could not be begun, until then
	bad     map[string]audience.Schedule // schedules that do not parse, logged already
}

// movement is when the members of a segment were seen to change.
type movement struct{ since, last time.Time } // since: the first that no run has taken in

// New makes a Scheduler.
func New(deps Deps) *Scheduler {
	return &Scheduler{
		Deps: deps, last: map[string]audience.LastRun{}, changes: map[audience.Number]movement{},
		pauses: map[string]time.Time{}, bad: map[string]audience.Schedule{},
	}
}

// Run begins what is due until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("schedules not looked at; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look begins what is due now.
func (s *Scheduler) look(ctx context.Context) error {
	jobs, err := s.Jobs(ctx)
	if err != nil {
		return fmt.Errorf("list what is scheduled: %w", err)
	}
	if err := s.readRuns(ctx); err != nil {
		return err
	}
	if err := s.readChanges(ctx, jobs); err != nil {
		return err
	}
	now := s.Now()
	for _, job := range jobs {
		run, due := s.decide(job, now)
		if !due || now.Before(s.pauses[keyOf(job)]) {
			continue
		}
		run.Kind, run.Subject = job.Kind, job.Subject
		err := s.Begin(ctx, job, run, s.last[keyOf(job)].ID)
		switch {
		case err == nil:
			run.State, run.CreateTime = audience.RunRunning, now
			last := s.last[keyOf(job)]
			s.last[keyOf(job)] = audience.LastRun{Run: run, DueDone: later(last.DueDone, run.Due)} // until it is read
		case !errors.Is(err, audience.ErrConflict): // somebody else is at it, or was: the next look sees that run
			s.pauses[keyOf(job)] = now.Add(again)
			s.Log.Warn("scheduled work not begun; trying again", "kind", job.Kind, "subject", job.Subject, "error", err)
		}
	}
	return nil
}

// decide says whether a job begins now, and on what occasion.
func (s *Scheduler) decide(job Job, now time.Time) (run audience.Run, due bool) {
	last, ran := s.last[keyOf(job)]
	switch {
	case ran && !last.State.Done(): // what falls due meanwhile is made good after it
		return run, false
	case job.Held:
		return run, false
	case last.State == audience.RunInterrupted:
		return audience.Run{Occasion: last.Occasion, Due: last.Due, Resumes: last.ID}, true
	case job.Doubtful:
		return audience.Run{Occasion: audience.OccasionRecovery}, true
	}
	times, err := Parse(job.Schedule, job.Subject)
	if err != nil { // one that an earlier version let pass
		if s.bad[keyOf(job)] != job.Schedule {
			s.bad[keyOf(job)] = job.Schedule
			s.Log.Warn("schedule not kept", "subject", job.Subject, "error", err)
		}
		return run, false
	}
	done := last.DueDone
	if done.IsZero() {
		done = job.Since
	}
	if missed := times.Missed(done, now); !missed.IsZero() {
		return audience.Run{Occasion: audience.OccasionSchedule, Due: missed}, true
	}
	return audience.Run{Occasion: audience.OccasionChange}, s.changed(job, last, now)
}

// changed reports whether a job is to begin because of changes since its last run. One that never ran has changed.
func (s *Scheduler) changed(job Job, last audience.LastRun, now time.Time) bool {
	quiet, change := job.Schedule.OnChange, s.changes[job.Segment]
	switch {
	case quiet == 0:
		return false
	case last.CreateTime.IsZero():
		return true
	case !change.last.After(last.CreateTime):
		return false
	}
	return now.Sub(change.last) >= quiet || now.Sub(later(change.since, last.CreateTime)) >= mostQuiet*quiet
}

func keyOf(job Job) string { return string(job.Kind) + " " + job.Subject }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// overlap is how far back runs are read again: other processes' clocks, by which ids of runs rise, may be behind.
const overlap = 10 * time.Minute

// readRuns brings s.last up to what the runs are.
func (s *Scheduler) readRuns(ctx context.Context) error {
	var from audience.RunID
	now := time.Now() // ids go by the system's clock
	if !s.seen.IsZero() {
		from = idAt(s.seen.Add(-overlap))
		for _, last := range s.last {
			if !last.State.Done() && last.ID != "" {
				from = min(from, last.ID)
			}
		}
	}
	newest, err := s.LastRuns(ctx, from)
	if err != nil {
		return err
	}
	s.seen = now
	for _, run := range newest {
		key := keyOf(Job{Kind: run.Kind, Subject: run.Subject})
		known := s.last[key]
		run.DueDone = later(run.DueDone, known.DueDone)
		if run.ID >= known.ID {
			s.last[key] = run
		}
	}
	return nil
}

// idAt is not above the ids of runs that begin at a time or later.
func idAt(at time.Time) audience.RunID {
	millis := uint64(at.UnixMilli())
	return audience.RunID(fmt.Sprintf("%08x-%04x-7000-8000-000000000000", millis>>16, millis&0xffff))
}

// readChanges brings s.changes up to the log. After a start of the service, whatever has changed since shortly before the last
// runs began counts as changed just now.
func (s *Scheduler) readChanges(ctx context.Context, jobs []Job) error {
	now := s.Now()
	since, wanted := now, false
	for _, job := range jobs {
		if last := s.last[keyOf(job)]; job.Schedule.OnChange > 0 && !last.CreateTime.IsZero() {
			since, wanted = earlier(since, last.CreateTime.Add(-overlap)), true
		}
	}
	if !wanted {
		s.version = 0 // the next to want them begins as after a start
		return nil
	}
	starting := s.version == 0
	if !starting {
		since = time.Time{}
	}
	segments, version, err := s.Changes(ctx, s.version, since)
	if err != nil {
		return err
	}
	s.version = version
	for segment, at := range segments {
		if starting && s.begun(jobs, segment, at.Add(overlap)) {
			continue
		}
		known := s.changes[segment]
		if s.begun(jobs, segment, known.last) {
			known.since = now
		}
		known.last = now
		s.changes[segment] = known
	}
	return nil
}

// begun reports whether all jobs of a segment have run since a time.
func (s *Scheduler) begun(jobs []Job, segment audience.Number, since time.Time) bool {
	for _, job := range jobs {
		if job.Segment == segment && job.Schedule.OnChange > 0 && s.last[keyOf(job)].CreateTime.Before(since) {
			return false
		}
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
