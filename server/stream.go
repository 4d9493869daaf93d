package server

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// Flow control of StreamEvents. Rows read but not acknowledged are bounded; requests that wait together are written
// together, so that many small ones do not each pay for an insert.
const (
	maxUnacknowledgedRows  = 4 * maxBatchRows
	maxWaitingRequests     = 1024
	maxRowsWrittenTogether = 2 * maxBatchRows
)

// StreamEvents reads ahead in another goroutine; this one writes and acknowledges, in order.
func (s *ingestService) StreamEvents(stream grpc.BidiStreamingServer[audiencev1.StreamEventsRequest, audiencev1.StreamEventsResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	reader := &eventReader{
		stream: stream, currency: s.currency, erased: s.erased,
		window:  semaphore.NewWeighted(maxUnacknowledgedRows),
		batches: make(chan eventBatch, maxWaitingRequests),
	}
	go reader.read(ctx)

	var acknowledged int64
	for {
		group, err := reader.next(ctx)
		if err != nil {
			return err
		}
		if len(group) == 0 {
			return reader.err // set before the channel was closed; nil at the caller's own end
		}
		duplicate, err := s.write(ctx, together(group))
		if err != nil {
			return err
		}
		for _, batch := range group {
			answer := batch.acknowledgement(acknowledged, duplicate[:len(batch.events)])
			answer.FreshnessToken = s.live.Token()
			if err := stream.Send(answer); err != nil {
				return err
			}
			duplicate = duplicate[len(batch.events):]
			acknowledged += int64(batch.size)
			reader.window.Release(int64(batch.size))
		}
	}
}

// eventReader reads the requests of a stream ahead of their answers, within the window.
type eventReader struct {
	stream   grpc.BidiStreamingServer[audiencev1.StreamEventsRequest, audiencev1.StreamEventsResponse]
	currency string
	erased   func(audience.UserID) bool
	window   *semaphore.Weighted // rows that may still be read
	batches  chan eventBatch     // closed when no more come
	err      error               // why, before the channel is closed; nil at the caller's own end
}

func (r *eventReader) read(ctx context.Context) {
	defer close(r.batches)
	for {
		request, err := r.stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		var batch eventBatch
		if err == nil {
			batch, err = readEvents(request.GetEvents(), r.currency, r.erased)
		}
		if err == nil {
			err = r.window.Acquire(ctx, int64(batch.size))
		}
		if err != nil {
			r.err = err
			return
		}
		select {
		case r.batches <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// next waits for a batch and returns it with those that have arrived meanwhile; none at the end of the stream.
func (r *eventReader) next(ctx context.Context) ([]eventBatch, error) {
	var group []eventBatch
	select {
	case batch, ok := <-r.batches:
		if !ok {
			return nil, nil
		}
		group = append(group, batch)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for rows := group[0].size; rows < maxRowsWrittenTogether; {
		select {
		case batch, ok := <-r.batches:
			if !ok {
				return group, nil
			}
			group, rows = append(group, batch), rows+batch.size
		default:
			return group, nil
		}
	}
	return group, nil
}

// together are the events of several batches, in their order.
func together(group []eventBatch) []audience.Event {
	if len(group) == 1 {
		return group[0].events
	}
	parts := make([][]audience.Event, len(group))
	for i, batch := range group {
		parts[i] = batch.events
	}
	return slices.Concat(parts...)
}

// acknowledgement answers a batch whose first row has the number first in the stream.
func (b *eventBatch) acknowledgement(first int64, duplicate []bool) *audiencev1.StreamEventsResponse {
	out := &audiencev1.StreamEventsResponse{AcknowledgedRows: first + int64(b.size)}
	for _, repeated := range duplicate {
		if repeated {
			out.DuplicateCount++
		} else {
			out.AcceptedCount++
		}
	}
	for row := range b.size {
		if violations, refused := b.refused[row]; refused {
			out.Refused = append(out.Refused, &audiencev1.RefusedRow{Row: first + int64(row), Violations: violations})
		}
	}
	return out
}
