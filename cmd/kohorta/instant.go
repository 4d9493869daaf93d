package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// instant is a flag that holds a point in time, or none.
type instant struct{ time time.Time }

// Set takes RFC 3339, or a date meaning its end in UTC.
func (i *instant) Set(text string) error {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		i.time = day.AddDate(0, 0, 1).Add(-time.Millisecond)
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is neither a date (2026-12-31) nor RFC 3339 (2026-12-31T23:00:00Z)", text)
	}
	i.time = t
	return nil
}

// String is the time as given to the service.
func (i *instant) String() string {
	if i.time.IsZero() {
		return ""
	}
	return i.time.Format(time.RFC3339)
}

// Type names the flag's value in help.
func (i *instant) Type() string { return "time" }

// proto is nil for no time: the service takes its own.
func (i *instant) proto() *timestamppb.Timestamp {
	if i.time.IsZero() {
		return nil
	}
	return timestamppb.New(i.time)
}
