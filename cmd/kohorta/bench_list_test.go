package main

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// bareStream sends ids that are in memory, 1,000 a message; the same ones in each, so that a million strings are not what the
// collector is busy with, in either list.
type bareStream struct {
	audiencev1.UnimplementedSegmentServiceServer
	ids      []string
	messages int
}

func (s bareStream) ListMembers(_ *audiencev1.ListMembersRequest, stream grpc.ServerStreamingServer[audiencev1.ListMembersResponse]) error {
	for range s.messages {
		if err := stream.Send(&audiencev1.ListMembersResponse{UserIds: s.ids, Cursor: "cursor"}); err != nil {
			return err
		}
	}
	return nil
}

// serveBare serves a bare stream of so many ids and returns its client.
func serveBare(b *testing.B, users int) audiencev1.SegmentServiceClient {
	b.Helper()
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = benchUser(i)
	}
	server := grpc.NewServer()
	audiencev1.RegisterSegmentServiceServer(server, bareStream{ids: ids, messages: users / len(ids)})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, conn.Close())
		server.Stop()
		require.NoError(b, <-ended)
	})
	return audiencev1.NewSegmentServiceClient(conn)
}

// listed reads a whole list and returns how many ids a second came.
func listed(b *testing.B, client audiencev1.SegmentServiceClient, segment string, want int) float64 {
	b.Helper()
	began, ids := time.Now(), 0
	stream, err := client.ListMembers(b.Context(), &audiencev1.ListMembersRequest{Name: segment})
	require.NoError(b, err)
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(b, err)
		ids += len(answer.GetUserIds())
	}
	if want > 0 {
		require.Equal(b, want, ids)
	}
	return float64(ids) / time.Since(began).Seconds()
}

// BenchmarkListMembers lists a segment of everybody and one of every twelfth user, in turn with a bare stream of ids from
// memory in messages of the same size, server, ClickHouse and client on the same cores. Figures are medians of ten lists each.
//
//	KOHORTA_BENCH=1 go test ./cmd/kohorta -run '^$' -bench ListMembers -benchtime 1x
func BenchmarkListMembers(b *testing.B) {
	users, _ := benchSize()
	c := benchService(b, users, audience.Segment{ID: "everybody", Expression: "has(attr.a)"})
	bare := serveBare(b, users)
	var memory, all, some []float64
	for b.Loop() {
		for range 10 {
			memory = append(memory, listed(b, bare, "segments/everybody", users))
			all = append(all, listed(b, c.segments, "segments/everybody", users))
			some = append(some, listed(b, c.segments, "segments/segment-1", 0))
		}
	}
	median := func(rates []float64) float64 {
		slices.Sort(rates)
		return rates[len(rates)/2]
	}
	b.ReportMetric(0, "ns/op") // a round of all says nothing
	b.ReportMetric(median(memory), "bare-ids/s")
	b.ReportMetric(median(all), "everybody-ids/s")
	b.ReportMetric(median(some), "twelfth-ids/s")
	b.ReportMetric(median(all)/median(memory), "everybody/bare")
}
