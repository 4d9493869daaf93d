package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func TestRunInWords(t *testing.T) {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	run := func(kind audiencev1.Run_Kind, subject string, state audiencev1.Run_State, counts map[string]int64) *audiencev1.Run {
		return &audiencev1.Run{
			Name: "runs/1", Kind: kind, Subject: subject, State: state, Counts: counts,
			CreateTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(1200 * time.Millisecond)),
		}
	}
	held := run(audiencev1.Run_KIND_SYNC, "audiences/vip", audiencev1.Run_STATE_HELD, map[string]int64{"removals.planned": 9})
	held.Notes = []string{"removes 9 of 10 users"}
	failed := run(audiencev1.Run_KIND_TRAIN, "models/rfm", audiencev1.Run_STATE_FAILED, nil)
	failed.Error = "nobody has bought"
	for name, test := range map[string]struct {
		run  *audiencev1.Run
		want string
	}{
		"a training": {
			run(audiencev1.Run_KIND_TRAIN, "models/rfm", audiencev1.Run_STATE_SUCCEEDED, map[string]int64{"users": 1793, "version": 2}),
			"training of models/rfm: succeeded in 1.2 s\n  users 1,793, version 2\n  runs/1\n",
		},
		"an evaluation, the larger first": {
			run(audiencev1.Run_KIND_EVALUATE, "segments", audiencev1.Run_STATE_SUCCEEDED,
				map[string]int64{"changed": 5, "entered/champions": 2, "entered/at-risk": 3, "left/at-risk": 0}),
			"evaluation of segments: succeeded in 1.2 s\n  changed 5\n  entered: 3 at-risk, 2 champions\n  runs/1\n",
		},
		"an evaluation that changed nothing": {
			run(audiencev1.Run_KIND_EVALUATE, "segments", audiencev1.Run_STATE_SUCCEEDED, map[string]int64{"changed": 0}),
			"evaluation of segments: succeeded in 1.2 s\n  nothing changed\n  runs/1\n",
		},
		"a sync, without zeros": {
			run(audiencev1.Run_KIND_SYNC, "audiences/vip", audiencev1.Run_STATE_SUCCEEDED, map[string]int64{
				"members": 42, "unchanged": 0, "requests": 1, "suppressed.no_consent": 4,
				"additions.planned": 38, "additions.confirmed": 38, "additions.unknown": 0, "removals.not_tried": 0,
			}),
			"sync of audiences/vip: succeeded in 1.2 s\n  members 42, requests 1\n  additions: 38 planned, 38 confirmed\n  suppressed: 4 no consent\n  runs/1\n",
		},
		"a sync that waits": {held,
			"sync of audiences/vip: held in 1.2 s\n  removes 9 of 10 users\n  removals: 9 planned\n  nothing was sent; to send it anyway: kohorta sync approve 1\n  runs/1\n"},
		"a failure": {failed, "training of models/rfm: failed in 1.2 s\n  error: nobody has bought\n  runs/1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, newPrinter(&out, &options{output: "text"}).run(test.run, true))
			require.Equal(t, test.want, out.String())
		})
	}
}

func TestExplain(t *testing.T) {
	with := func(code codes.Code, message string, details ...protoadapt.MessageV1) error {
		s, err := status.New(code, message).WithDetails(details...)
		require.NoError(t, err)
		return s.Err()
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"an error of ours": {errors.New("--report: no such directory"), "error: --report: no such directory"},
		"each field": {
			with(codes.InvalidArgument, "2 fields are wrong", &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "title", Description: "is too long"}, {Field: "expression", Description: "does not parse"},
			}}),
			"error: 2 fields are wrong\n  title: is too long\n  expression: does not parse",
		},
		"a field the message tells already": {
			with(codes.InvalidArgument, "title: is too long", &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "title", Description: "is too long"},
			}}),
			"error: title: is too long",
		},
		"within what was being done": {
			errors.Join(fmt.Errorf("create segments/a: %w", with(codes.InvalidArgument, "expression: is empty")),
				fmt.Errorf("create segments/b: %w", with(codes.AlreadyExists, "segments/b: exists"))),
			"error: create segments/a: expression: is empty\ncreate segments/b: segments/b: exists",
		},
		"when to try again": {
			with(codes.Unavailable, "redis is unavailable", &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)}),
			"error: redis is unavailable\n  try again in 2s",
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, explain(test.err)) })
	}
}

func TestExplanationNamesWhereAMoveLeads(t *testing.T) {
	for name, test := range map[string]struct {
		move    *audiencev1.DecidingMove
		instead string
		want    string
	}{
		"in":                            {&audiencev1.DecidingMove{Into: true, Actor: "ann", Reason: "sponsor"}, "", "moved in by ann: sponsor\n"},
		"out":                           {&audiencev1.DecidingMove{}, "", "moved out by nobody named: no reason given\n"},
		"into another one of the group": {&audiencev1.DecidingMove{Into: true, Actor: "ann"}, "segments/gold", "moved into gold by ann: no reason given\n  gold of the same group comes first\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &audiencev1.ExplainMembershipResponse{Move: test.move, Instead: test.instead}
			require.Equal(t, "not in\n  "+test.want, newPrinter(io.Discard, &options{output: "text"}).explanation(r))
		})
	}
}

func TestThousands(t *testing.T) {
	for number, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -1000: "-1,000", -123456: "-123,456"} {
		require.Equal(t, want, thousands(number))
	}
}
