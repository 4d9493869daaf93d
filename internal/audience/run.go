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

// A run goes from queued to running to one of the last four. Held: a sync waits for a person's approval.
const (
	RunQueued    RunState = "queued"
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
	RunCancelled RunState = "cancelled"
	RunHeld      RunState = "held"
)

// Done reports whether the run has ended and will not change any more.
func (s RunState) Done() bool {
	return s == RunSucceeded || s == RunFailed || s == RunCancelled || s == RunHeld
}

// Run is one training, evaluation, sync or erasure, kept as history.
type Run struct {
	ID         RunID
	Kind       RunKind
	Subject    string // resource name it works on: "models/rfm", "segments", "audiences/vip-meta"
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
