package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// sink takes the events of an import, in batches with their lines in the file, until finish.
type sink interface {
	send(events []*audiencev1.Event, lines []int) error
	finish() error
}

// rehearsal is the sink of a dry run: it sends nothing.
type rehearsal struct{ result *imported }

func (r rehearsal) send(events []*audiencev1.Event, _ []int) error {
	r.result.Accepted += int64(len(events))
	return nil
}

func (rehearsal) finish() error { return nil }

// eventStream sends batches of events, a bounded number ahead of their acknowledgements.
type eventStream struct {
	stream interface {
		Send(*audiencev1.StreamEventsRequest) error
		Recv() (*audiencev1.StreamEventsResponse, error)
		CloseSend() error
	}
	result       *imported
	lines        []int // of the rows sent and not acknowledged
	sent         int64 // rows, as is acknowledged
	acknowledged int64
}

func newEventStream(ctx context.Context, c *client, result *imported) (sink, error) {
	stream, err := c.ingest.StreamEvents(ctx)
	if err != nil {
		return nil, err
	}
	return &eventStream{stream: stream, result: result}, nil
}

func (s *eventStream) send(events []*audiencev1.Event, lines []int) error {
	if err := s.stream.Send(&audiencev1.StreamEventsRequest{Events: events}); err != nil {
		if errors.Is(err, io.EOF) { // the service has ended the stream: the reason comes with Recv
			_, err = s.stream.Recv()
		}
		return s.broken(err)
	}
	s.lines = append(s.lines, lines...)
	s.sent += int64(len(events))
	for s.sent-s.acknowledged > importAhead {
		if err := s.receive(); err != nil {
			return err
		}
	}
	return nil
}

// receive takes one acknowledgement.
func (s *eventStream) receive() error {
	r, err := s.stream.Recv()
	if err != nil {
		return s.broken(err)
	}
	for _, refused := range r.GetRefused() {
		var v audience.Violations
		for _, violation := range refused.GetViolations() {
			v.Add(violation.GetField(), "%s", violation.GetDescription())
		}
		s.result.refuse(s.lines[refused.GetRow()-s.acknowledged], v.Err())
	}
	s.result.Accepted += int64(r.GetAcceptedCount())
	s.result.Duplicates += int64(r.GetDuplicateCount())
	s.lines = s.lines[r.GetAcknowledgedRows()-s.acknowledged:]
	s.acknowledged = r.GetAcknowledgedRows()
	return nil
}

// finish waits until everything sent is acknowledged.
func (s *eventStream) finish() error {
	if err := s.stream.CloseSend(); err != nil {
		return s.broken(err)
	}
	for s.acknowledged < s.sent {
		if err := s.receive(); err != nil {
			return err
		}
	}
	return nil
}

// broken says what to do when the service has gone away in the middle; other errors stay as they are.
func (s *eventStream) broken(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable {
		return fmt.Errorf("the service went away with %s of %s rows acknowledged: when it is back, import the file again: events already stored count once",
			thousands(s.acknowledged), thousands(s.sent))
	}
	return err
}
