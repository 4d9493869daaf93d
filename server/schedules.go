package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// readSchedule is the schedule in a message; [Schedules] checks whether it can be kept.
func readSchedule(v *audience.Violations, message *audiencev1.Schedule) audience.Schedule {
	duration := func(field string, d *durationpb.Duration) time.Duration {
		if d != nil && d.CheckValid() != nil {
			v.Add("schedule."+field, "is not a duration; write seconds, such as 90s")
		}
		return d.AsDuration()
	}
	return audience.Schedule{
		Cron: message.GetCron(), TimeZone: message.GetTimeZone(),
		Jitter: duration("jitter", message.GetJitter()), OnChange: duration("on_change", message.GetOnChange()),
	}
}

func writeSchedule(s audience.Schedule) *audiencev1.Schedule {
	if s == (audience.Schedule{}) {
		return nil
	}
	return &audiencev1.Schedule{Cron: s.Cron, TimeZone: s.TimeZone, Jitter: durationpbOf(s.Jitter), OnChange: durationpbOf(s.OnChange)}
}

// nextOf is when a schedule is due next, for a message; none where it is not due at a set time.
func nextOf(schedules Schedules, s audience.Schedule, subject string) *timestamppb.Timestamp {
	if s.Cron == "" {
		return nil
	}
	return timestampOf(schedules.Next(s, subject))
}
