package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
)

// timeOf is the time in a message; the zero time for none. An invalid timestamp is recorded as a fault of the field and
// becomes a time that later checks let pass.
func timeOf(v *audience.Violations, field string, at *timestamppb.Timestamp) time.Time {
	if at == nil {
		return time.Time{}
	}
	if err := at.CheckValid(); err != nil {
		v.Add(field, "is not a timestamp of the years 1 to 9999")
		return audience.EarliestEvent
	}
	return at.AsTime()
}

// timestampOf is the message of a time; none for the zero time.
func timestampOf(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// instantOf is the instant a caller asks for, within the range of event times; the zero time for none.
func instantOf(field string, asked *timestamppb.Timestamp) (time.Time, error) {
	if asked == nil {
		return time.Time{}, nil
	}
	var v audience.Violations
	at := timeOf(&v, field, asked)
	if len(v) == 0 && (at.Before(audience.EarliestEvent) || !at.Before(audience.LatestEvent)) {
		v.Add(field, "is outside 1970 to 2099")
	}
	return at, v.Err()
}

// pastOf is the instant of the past a caller asks for; the zero time for none, and for what is left of today: who names a day means
// its end.
func pastOf(field string, asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	at, err := instantOf(field, asked)
	switch {
	case err != nil || !at.After(now):
		return at, err
	case at.After(now.AddDate(0, 0, 1)):
		return time.Time{}, audience.Invalid(field, "is in the future; name an instant of the past, or leave it out to mean now")
	default:
		return time.Time{}, nil
	}
}

// durationOf is the duration in a message, 0 for none. One that is invalid, negative or longer than most is a fault of the field.
func durationOf(v *audience.Violations, field string, d *durationpb.Duration, most time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	switch length := d.AsDuration(); {
	case d.CheckValid() != nil || length < 0:
		v.Add(field, "is not a duration such as 172800s")
	case length > most:
		v.Add(field, "is %s; at most %s is allowed", length, most)
	default:
		return length
	}
	return 0
}

// durationpbOf is the message of a duration; none for 0.
func durationpbOf(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
