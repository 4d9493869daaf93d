package audience

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of error that callers branch on. A room wraps them with what it was doing; only server/errors.go turns them
// into status codes.
var (
	ErrInvalid      = errors.New("invalid")      // the caller's input; see InvalidError for the fields
	ErrNotFound     = errors.New("not found")    // see ResourceError for what
	ErrExists       = errors.New("exists")       // see ResourceError for what
	ErrConflict     = errors.New("conflict")     // a stale etag, a run already under way
	ErrPrecondition = errors.New("precondition") // the system is not in the state the call needs, e.g. no trained model yet
	ErrUnavailable  = errors.New("unavailable")  // a store or platform cannot answer now; see UnavailableError for the wait
	ErrExhausted    = errors.New("exhausted")    // a quota or a size limit of the service
	ErrFenced       = errors.New("fenced off")   // a lease has ended under the work; another process may go on with it
)

// Violation is one thing wrong with one field of an input.
type Violation struct {
	Field  string // path of the field as the caller wrote it, e.g. "events[3].time"
	Reason string // what is wrong and what would be right, without the value if it may be personal
}

// InvalidError is an ErrInvalid that names every field at fault.
type InvalidError struct{ Violations []Violation }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		parts[i] = v.Field + ": " + v.Reason
	}
	return strings.Join(parts, "; ")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Invalid is an InvalidError of one field.
func Invalid(field, format string, args ...any) error {
	return &InvalidError{Violations: []Violation{{Field: field, Reason: fmt.Sprintf(format, args...)}}}
}

// Within puts prefix before the field names of an InvalidError ("events[3]" + "time" → "events[3].time") and returns
// other errors, nil included, as they are.
func Within(prefix string, err error) error {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	out := &InvalidError{Violations: make([]Violation, len(invalid.Violations))}
	for i, v := range invalid.Violations {
		out.Violations[i] = Violation{Field: strings.Trim(prefix+"."+v.Field, "."), Reason: v.Reason}
	}
	return out
}

// Violations collects the faults of an input; Err is nil while there are none.
type Violations []Violation

// Add records a fault of a field.
func (v *Violations) Add(field, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// Merge takes over the faults of err, an InvalidError, under prefix; it reports whether err was one or nil.
func (v *Violations) Merge(prefix string, err error) bool {
	if err == nil {
		return true
	}
	var invalid *InvalidError
	if !errors.As(Within(prefix, err), &invalid) {
		return false
	}
	*v = append(*v, invalid.Violations...)
	return true
}

// Err is the faults as an InvalidError, or nil.
func (v Violations) Err() error {
	if len(v) == 0 {
		return nil
	}
	return &InvalidError{Violations: v}
}

// ResourceError is an ErrNotFound or ErrExists that says of which resource.
type ResourceError struct {
	Kind error  // ErrNotFound or ErrExists
	Name string // resource name, e.g. "segments/vip"
}

func (e *ResourceError) Error() string { return e.Name + ": " + e.Kind.Error() }
func (e *ResourceError) Unwrap() error { return e.Kind }

// UnavailableError is an ErrUnavailable with the time after which a retry makes sense.
type UnavailableError struct {
	What       string        // the part that cannot answer: "clickhouse", "redis", "membership projection"
	RetryAfter time.Duration // > 0
	Err        error         // the cause; may be nil
}

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return e.What + " is unavailable"
	}
	return e.What + " is unavailable: " + e.Err.Error()
}
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }
