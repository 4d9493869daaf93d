package audience

import "time"

// Selection says what an evaluation reads of a user's history, in an Excerpt of it.
type Selection struct {
	Events     []EventSelection // each type once
	Texts      []string         // of events: properties that are texts
	Numbers    []string         // of events: properties that are numbers
	Orders     bool             // of events: the order each belongs to
	InOrder    bool             // events of a user and type by time, then by id
	Country    bool
	Attributes bool
	Scores     []ScoreSelection
}

// EventSelection is a type of events, of which those after an instant (zero: all) are read.
type EventSelection struct {
	Type  string
	After time.Time
}

// ScoreSelection is the version of a model's scores to read.
type ScoreSelection struct {
	Model   Number
	Version uint32
}

// Excerpt is what a Selection takes from the history of one user, and the membership on record.
type Excerpt struct {
	User     UserID
	Known    bool // whether anything is stored of the user
	Events   []ExcerptEvent
	Profile  Profile  // its country, its attributes; zero without a profile
	Pins     []Pin    // that stand, one a segment: segment, held, expiry and version
	Scores   []Score  // by Selection.Scores: the labels; zero without one
	Recorded []Number // the segments the user is in by the record, ascending
}

// ExcerptEvent is an event of an Excerpt.
type ExcerptEvent struct {
	Type        int64 // by Selection.Events
	Millis      int64 // since 1970
	ValueMicros int64
	Order       uint64    // equal within an order; 0 unless selected
	Texts       []*string // by Selection.Texts; nil without the property
	Numbers     []float64 // by Selection.Numbers; NaN without the property
}
