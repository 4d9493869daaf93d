package audience

import (
	"math"
	"time"
	"unicode/utf8"
)

// Event is something a user did. A user's event ids are unique: a repeat counts once, the first one stands.
type Event struct {
	User        UserID
	ID          string // unique within the user: 1 to 256 bytes
	Type        string // e.g. "purchase": 1 to 64 bytes
	Time        time.Time
	ValueMicros int64              // 1e-6 of the service's currency; refunds are negative; 0 where an event has no value
	Texts       map[string]string  // text properties, and booleans as "true" and "false"
	Numbers     map[string]float64 // numeric properties; finite
}

// Bounds of an event. They keep sums inside int64 (nine thousand events of the largest value per user) and times inside what
// ClickHouse's DateTime64(3) partitions sensibly.
const (
	MaxEventTypeBytes = 64
	MaxEventIDBytes   = 256
	MaxValueMicros    = 1_000_000_000_000_000 // a billion units of the currency
	MaxProperties     = 64
	MaxPropertyBytes  = 64   // of a name
	MaxTextBytes      = 4096 // of a text value
)

// EarliestEvent and LatestEvent bound Event.Time; the future is allowed (bookings), the year 9999 is a mistake.
var (
	EarliestEvent = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	LatestEvent   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Validate says all that is wrong with the event.
func (e *Event) Validate() error {
	var v Violations
	v.Merge("", e.User.Validate())
	v.Merge("", validText("event_id", e.ID, MaxEventIDBytes))
	v.Merge("", validText("type", e.Type, MaxEventTypeBytes))
	if e.Time.Before(EarliestEvent) || !e.Time.Before(LatestEvent) {
		v.Add("time", "is outside 1970 to 2099; send the UTC time of the event")
	}
	if e.ValueMicros > MaxValueMicros || e.ValueMicros < -MaxValueMicros {
		v.Add("value_micros", "is beyond ±%d (a billion units)", int64(MaxValueMicros))
	}
	validProperties(&v, "properties", e.Texts, e.Numbers)
	return v.Err()
}

// validProperties checks the two typed halves of a property map of an event or profile.
func validProperties(v *Violations, field string, texts map[string]string, numbers map[string]float64) {
	if n := len(texts) + len(numbers); n > MaxProperties {
		v.Add(field, "has %d entries; at most %d are allowed", n, MaxProperties)
	}
	for name, text := range texts {
		validPropertyName(v, field, name)
		if len(text) > MaxTextBytes {
			v.Add(field+"."+name, "has %d bytes; at most %d are allowed", len(text), MaxTextBytes)
		} else if !utf8.ValidString(text) {
			v.Add(field+"."+name, "is not valid UTF-8; re-encode the input")
		}
	}
	for name, number := range numbers {
		validPropertyName(v, field, name)
		if math.IsNaN(number) || math.IsInf(number, 0) {
			v.Add(field+"."+name, "is not a finite number; leave it out when it is unknown")
		}
		if _, twice := texts[name]; twice {
			v.Add(field+"."+name, "is given as text and as a number; send one")
		}
	}
}

func validPropertyName(v *Violations, field, name string) {
	if name == "" {
		v.Add(field, "has an entry without a name; name it or leave it out")
		return
	}
	v.Merge(field, validText(name, name, MaxPropertyBytes))
}
