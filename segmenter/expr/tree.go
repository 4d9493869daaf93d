package expr

import "github.com/kohorta/kohorta/internal/audience"

// The tree is what an expression means, without its syntax. Conditions are true or false; values may be missing, and every
// comparison with a missing value is false. Numbers, times (milliseconds since 1970) and spans (milliseconds) are all computed as
// float64, whose integers are exact beyond any time or count that occurs.

// kind is the type of a value.
type kind uint8

const (
	unknown kind = iota // of a property or attribute, which takes the kind of the other operand
	number
	text
	moment // a point in time
	span   // a length of time
	truth  // conditions; no value has this kind
)

func (k kind) String() string {
	return [...]string{"property", "number", "text", "timestamp", "duration", "true/false"}[k]
}

// condition is true or false of a user or, inside the predicate of an aggregate, of an event.
type condition interface{ isCondition() }

type (
	constant struct{ value bool }
	and      struct{ operands []condition }
	or       struct{ operands []condition }
	not      struct{ operand condition }
	// choice is test ? then : otherwise.
	choice struct{ test, then, otherwise condition }
	// same holds when both sides are true or both are false.
	same struct{ left, right condition }
	// comparison of two values of one kind.
	comparison struct {
		op          operator
		left, right value
	}
	oneOf struct {
		needle value
		list   []literal // of the needle's kind; may be empty
	}
	// match looks for part in a text.
	match struct {
		how  matcher
		text value
		part string
	}
	// present holds when the field has a value.
	present struct{ field field }
	// member holds when the user is in another segment.
	member struct{ segment audience.SegmentID }
	// sequence holds when there are events within the window that match the steps, each later than the one before.
	sequence struct {
		window window
		steps  []step
		never  []eventMatch // nothing of this after the last step
		wait   int64        // for how many milliseconds, which must be over; 0: until now
	}
)

// eventMatch are events of a type for which a condition holds; nil holds for all.
type eventMatch struct {
	event string
	where condition
}

// step is a step of a sequence.
type step struct {
	eventMatch
	within  int64        // milliseconds at most after the step before; 0: any
	without []eventMatch // nothing of this between the step before and this one
}

func (constant) isCondition()   {}
func (and) isCondition()        {}
func (or) isCondition()         {}
func (not) isCondition()        {}
func (choice) isCondition()     {}
func (same) isCondition()       {}
func (comparison) isCondition() {}
func (oneOf) isCondition()      {}
func (match) isCondition()      {}
func (present) isCondition()    {}
func (member) isCondition()     {}
func (sequence) isCondition()   {}

// operator compares; its text is the same in CEL and in SQL, but for equality.
type operator string

const (
	equal          operator = "=="
	notEqual       operator = "!="
	less           operator = "<"
	lessOrEqual    operator = "<="
	greater        operator = ">"
	greaterOrEqual operator = ">="
)

// matcher is the name of a text function of CEL.
type matcher string

const (
	startsWith matcher = "startsWith"
	endsWith   matcher = "endsWith"
	contains   matcher = "contains"
)

// value is a number, text, time or span, or missing.
type value interface{ kind() kind }

type (
	literal struct {
		of     kind
		number float64 // of a number, moment or span
		text   string
	}
	// now is the time of evaluation.
	now struct{}
	// field is a stored fact; environment.go lists the fields.
	field struct {
		from  source
		model audience.ModelID // of scores
		name  string           // property, attribute or column
		of    kind

		percentile bool // instead the share of the users the model was trained on that have as much or less
	}
	// aggregate summarises the user's events of one type within a window.
	aggregate struct {
		function function
		eventMatch
		of     value // what is summarised, of those events that have it; nil: the events themselves, or the sum of their values
		window window
	}
	// arithmetic computes; with a missing operand it is missing.
	arithmetic struct {
		op          byte // + - * /
		left, right value
		of          kind
	}
	// pick is test ? then : otherwise.
	pick struct {
		test            condition
		then, otherwise value
	}
)

func (l literal) kind() kind { return l.of }
func (now) kind() kind       { return moment }
func (f field) kind() kind   { return f.of }
func (a aggregate) kind() kind {
	switch a.function {
	case last, first:
		return moment
	case firstValue, lastValue:
		return a.of.kind()
	default:
		return number
	}
}
func (a arithmetic) kind() kind { return a.of }
func (p pick) kind() kind       { return p.then.kind() }

// source is where a field is stored.
type source uint8

const (
	ofEvent    source = iota // a property of the event at hand, inside a predicate
	eventValue               // the value of the event at hand
	ofProfile                // profile.country
	attribute                // attr["plan"]
	score                    // rfm.r, cluster("model")
)

// function is what an aggregate computes; its text is the function's name in expressions.
type function string

const (
	count         function = "count"
	countDistinct function = "count_distinct" // of values of a property
	sum           function = "sum"            // of values, in units of the currency, or of a number of each event, to the millionth
	average       function = "avg"            // likewise; missing without an event
	minimum       function = "min"            // missing without an event
	maximum       function = "max"            // missing without an event
	firstValue    function = "first_value"    // of a property, at its oldest event that has it; missing without one
	lastValue     function = "last_value"     // at the newest
	last          function = "last"           // time of the newest event; missing without one
	first         function = "first"          // time of the oldest event; missing without one
	daysSince     function = "days_since"     // whole 24-hour days since the newest event; missing without one
)
