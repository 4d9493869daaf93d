package destination

import (
	"fmt"
	"strings"
	"time"
)

// Error is why a platform did not do what was asked. It never holds a token, a URL with a query, or a value of a row.
type Error struct {
	Kind       Kind
	Scope      Scope         // how much of the work stands still
	RetryAfter time.Duration // as the platform asked or its sheet says; 0 lets delivery choose
	Code       string        // the platform's, e.g. "200/1870047"; "" when there was no answer
	RequestID  string        // for the platform's support
	Remedy     string        // what a person can do, one sentence; "" when nobody need act
	Err        error         // what happened
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Code != "" {
		fmt.Fprintf(&b, " (code %s)", e.Code)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Kind is what delivery has to do about an Error.
type Kind uint8

// The kinds.
const (
	Transient     Kind = iota + 1 // outcome unknown or a passing fault: the same request again, soon
	RateLimited                   // a budget is used up: nothing in Scope before RetryAfter
	Busy                          // the audience cannot be changed now: later
	TooLarge                      // the request has too many rows or bytes: halve it
	Rejected                      // the contents were refused as a whole: bisect; if every single row is refused, the audience is at fault
	Unauthorized                  // the credentials are no longer accepted: nothing until a person renews them
	Misconfigured                 // a person must act; see Remedy
	Gone                          // the audience does not exist any more
)

func (k Kind) String() string {
	names := [...]string{"unknown", "transient", "rate limited", "busy", "too large", "rejected", "unauthorized", "misconfigured", "audience gone"}
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}

// Scope is how far an Error reaches.
type Scope uint8

// The scopes, each wider than the one before.
const (
	OfRequest  Scope = iota // this request only
	OfAudience              // all requests of this audience
	OfAccount               // all audiences of this advertising account
	OfApp                   // all accounts that share this token or app
)

func (s Scope) String() string {
	names := [...]string{"request", "audience", "account", "app"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}
