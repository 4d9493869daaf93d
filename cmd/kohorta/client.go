package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// client holds a connection to the service and its calls.
type client struct {
	conn        *grpc.ClientConn
	ingest      audiencev1.IngestServiceClient
	models      audiencev1.ModelServiceClient
	segments    audiencev1.SegmentServiceClient
	memberships audiencev1.MembershipServiceClient
	audiences   audiencev1.AudienceServiceClient
	runs        audiencev1.RunServiceClient
	webhooks    audiencev1.WebhookServiceClient
	privacy     audiencev1.PrivacyServiceClient
}

// dial connects; the service is asked only by the first call.
func dial(address string) (*client, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithChainUnaryInterceptor(asActor(actor()), patiently))
	if err != nil {
		return nil, fmt.Errorf("--server %s: %w", address, err)
	}
	return &client{
		conn:        conn,
		ingest:      audiencev1.NewIngestServiceClient(conn),
		models:      audiencev1.NewModelServiceClient(conn),
		segments:    audiencev1.NewSegmentServiceClient(conn),
		memberships: audiencev1.NewMembershipServiceClient(conn),
		audiences:   audiencev1.NewAudienceServiceClient(conn),
		runs:        audiencev1.NewRunServiceClient(conn),
		webhooks:    audiencev1.NewWebhookServiceClient(conn),
		privacy:     audiencev1.NewPrivacyServiceClient(conn),
	}, nil
}

// actor is who acts, for the audit: what the environment says, else the user at this machine.
func actor() string {
	if name := os.Getenv("KOHORTA_ACTOR"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// asActor names the actor with each call.
func asActor(name string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		return invoke(metadata.AppendToOutgoingContext(ctx, "x-kohorta-actor", name), method, request, reply, conn, options...)
	}
}

// callTimeout bounds a single question, which may concern all users, as a plan does, or a thousand dead letters at the pace of
// their receiver; streams and runs take the time they need.
const callTimeout = 5 * time.Minute

// patiently bounds a call by callTimeout. The service's own bound, for callers who name none, is too short for the longest ones.
func patiently(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return invoke(ctx, method, request, reply, conn, options...)
}

// ask calls do with a connection to the service of the options.
func ask(ctx context.Context, o *options, do func(context.Context, *client) error) error {
	c, err := dial(o.server)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	err = do(ctx, c)
	if status.Code(err) == codes.Unavailable && c.conn.GetState() != connectivity.Ready {
		return fmt.Errorf("no service answers at %s: start one with kohorta serve, or name another with --server", o.server)
	}
	return err
}

// received yields the messages of a server stream until it ends. err is that of the call which opened the stream.
func received[T any](stream grpc.ServerStreamingClient[T], err error) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err != nil {
			yield(nil, err)
			return
		}
		for {
			message, err := stream.Recv()
			if errors.Is(err, io.EOF) || !yield(message, err) || err != nil {
				return
			}
		}
	}
}

// grpcWords are what gRPC puts before a status that is part of another error.
var grpcWords = regexp.MustCompile(`rpc error: code = \w+ desc = `)

// kindWords are the kinds of error that stand behind a sentence which says all of it.
var kindWords = regexp.MustCompile(`(?m): (precondition|conflict|invalid|exhausted)$`)

// plain is a message without the words of programs.
func plain(message string) string {
	return kindWords.ReplaceAllString(grpcWords.ReplaceAllString(message, ""), "")
}

// explain says an error for people: a status without the words of gRPC, each field with what is wrong.
func explain(err error) string {
	s, ok := status.FromError(err)
	if !ok {
		return "error: " + plain(err.Error())
	}
	message := plain(s.Message())
	var b strings.Builder
	fmt.Fprintf(&b, "error: %s", message)
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				if !strings.Contains(message, v.GetDescription()) {
					fmt.Fprintf(&b, "\n  %s: %s", v.GetField(), v.GetDescription())
				}
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(&b, "\n  try again in %s", d.GetRetryDelay().AsDuration())
		}
	}
	return b.String()
}
