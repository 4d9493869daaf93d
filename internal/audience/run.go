package audience

import "time"

// RunKind is what a run does.
type RunKind string

// The kinds of run there are.
const (
	RunTrain    RunKind = "train"
	RunEvaluate RunKind = "evaluate"
	RunSync     RunKind = "sync"
	RunErase    RunKind = "erase"
)

// RunState is where a run stands.
type RunState string

// A run goes from queued to running to one of the last five. Held: a sync waits for approval. Interrupted: its
// process ended, or lost its lease; another run then resumes a sync or training.
const (
	RunQueued      RunState = "queued"
	RunRunning     RunState = "running"
	RunSucceeded   RunState = "succeeded"
	RunFailed      RunState = "failed"
	RunCancelled   RunState = "cancelled"
	RunHeld        RunState = "held"
	RunInterrupted RunState = "interrupted"
)

// Done reports whether the run has ended and will not change any more.
func (s RunState) Done() bool {
	return s == RunSucceeded || s == RunFailed || s == RunCancelled || s == RunHeld || s == RunInterrupted
}

// Occasion is why a run began.
type Occasion string

// The occasions there are. A run that resumes another has the occasion of that.
const (
	OccasionRequest  Occasion = "request"  // somebody asked for it
	OccasionSchedule Occasion = "schedule" // it was time
	OccasionChange   Occasion = "change"   // members have changed
	OccasionRecovery Occasion = "recovery" // a request was under way when its lease ended
)

// Run is one training, evaluation, sync or erasure, kept as history.
type Run struct {
	ID         RunID
	Kind       RunKind
	Subject    string // resource name it works on: "models/rfm", "segments", "audiences/vip-meta"
	Occasion   Occasion
	Due        time.Time // of a scheduled run: the newest instant of the schedule that it is for
	Resumes    RunID     // the run that it resumes; "": none
	Holder     string    // the process that works on it
	State      RunState
	Stage      string // what it does now, for people: "scoring users"
	DoneUnits  int64  // of TotalUnits; users or rows
	TotalUnits int64  // 0 while unknown
	Counts     map[string]int64
	Notes      []string // facts for people, in order: candidates of a training, why a plan is held
	Error      string   // of a failed run
	CreateTime time.Time
	EndTime    time.Time // zero until done
}

// RunFilter narrows a list of runs; an empty field narrows nothing.
type RunFilter struct {
	Kind    RunKind
	Subject string
	State   RunState
}

// LastRun is the newest run of a kind and subject, and how far their schedule is done.
type LastRun struct {
	Run
	DueDone time.Time // the newest Due of all their runs
}
