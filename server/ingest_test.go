package server_test

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func purchase(user, id string) *audiencev1.Event {
	return &audiencev1.Event{UserId: user, EventId: id, Type: "purchase", Time: timestamppb.New(noon), ValueMicros: 5_000_000}
}
