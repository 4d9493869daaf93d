package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// harness is a running server over an in-memory listener, with its real interceptors.
type harness struct {
	*world
	conn *grpc.ClientConn
	own  *server.Server
	stop func() error // stops the server and gives what Serve returned
	log  *logBuffer

	ingest      audiencev1.IngestServiceClient
	model       audiencev1.ModelServiceClient
	segment     audiencev1.SegmentServiceClient
	membership  audiencev1.MembershipServiceClient
	destination audiencev1.AudienceServiceClient
	run         audiencev1.RunServiceClient
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lineWith is the one line of the log that holds a text.
func (l *logBuffer) lineWith(t *testing.T, text string) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

func start(t testing.TB, config server.Config) *harness {
	t.Helper()
	h := &harness{world: newWorld(), log: &logBuffer{}}
	deps := h.deps()
	deps.Config = config
	level := slog.LevelDebug
	if _, benchmark := t.(*testing.B); benchmark {
		level = slog.LevelInfo // as in service
	}
	deps.Log = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: level}))
	require.NoError(t, config.Validate())

	listener := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	h.own = server.New(deps)
	go func() { served <- h.own.Serve(ctx, listener) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { require.NoError(t, h.stop()) })

	conn, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	h.conn = conn
	h.ingest = audiencev1.NewIngestServiceClient(conn)
	h.model = audiencev1.NewModelServiceClient(conn)
	h.segment = audiencev1.NewSegmentServiceClient(conn)
	h.membership = audiencev1.NewMembershipServiceClient(conn)
	h.destination = audiencev1.NewAudienceServiceClient(conn)
	h.run = audiencev1.NewRunServiceClient(conn)
	return h
}

// requireStatus asserts code and reason, that the reason is of our domain, and gives the details by type.
func requireStatus(t *testing.T, err error, code codes.Code, reason audiencev1.ErrorReason) details {
	t.Helper()
	require.Error(t, err)
	s := status.Convert(err)
	require.Equal(t, code, s.Code(), "%v", err)
	d := details{message: s.Message()}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			require.Equal(t, reason.String(), detail.GetReason())
			require.Equal(t, "kohorta.dev", detail.GetDomain())
			d.info = detail
		case *errdetails.BadRequest:
			d.bad = detail
		case *errdetails.ResourceInfo:
			d.resource = detail
		case *errdetails.PreconditionFailure:
			d.precondition = detail
		case *errdetails.RetryInfo:
			d.retry = detail
		case *errdetails.QuotaFailure:
			d.quota = detail
		case *errdetails.RequestInfo:
			d.request = detail
		}
	}
	require.NotNil(t, d.info, "every status carries an ErrorInfo")
	return d
}

type details struct {
	message      string
	info         *errdetails.ErrorInfo
	bad          *errdetails.BadRequest
	resource     *errdetails.ResourceInfo
	precondition *errdetails.PreconditionFailure
	retry        *errdetails.RetryInfo
	quota        *errdetails.QuotaFailure
	request      *errdetails.RequestInfo
}

// fields are the violations as "field: description".
func (d details) fields() []string {
	var out []string
	for _, v := range d.bad.GetFieldViolations() {
		out = append(out, v.GetField()+": "+v.GetDescription())
	}
	return out
}

func requireInvalid(t *testing.T, err error, fields ...string) details {
	t.Helper()
	d := requireStatus(t, err, codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD)
	require.NotNil(t, d.bad)
	var got []string
	for _, v := range d.bad.GetFieldViolations() {
		require.NotEmpty(t, v.GetDescription())
		got = append(got, v.GetField())
	}
	require.ElementsMatch(t, fields, got, "%v", d.fields())
	return d
}

func forceCodec(codec encoding.Codec) grpc.CallOption { return grpc.ForceCodec(codec) }

func TestHealthAndReflection(t *testing.T) {
	h := start(t, server.Config{})
	for _, service := range []string{"", "audience.v1.IngestService", "audience.v1.MembershipService"} {
		answer, err := healthv1.NewHealthClient(h.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		require.Equal(t, healthv1.HealthCheckResponse_SERVING, answer.GetStatus(), service)
	}

	stream, err := reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}))
	answer, err := stream.Recv()
	require.NoError(t, err)
	var services []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		services = append(services, strings.TrimPrefix(service.GetName(), "audience.v1."))
	}
	require.Subset(t, services, []string{"IngestService", "ModelService", "SegmentService", "MembershipService", "AudienceService", "RunService"})
	require.NoError(t, stream.CloseSend())
}

// TestEveryMethodIsServed: no method of the contract is left unimplemented.
func TestEveryMethodIsServed(t *testing.T) {
	h := start(t, server.Config{})
	for _, service := range services() {
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			stream, err := h.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
				"/"+string(service.FullName())+"/"+string(method.Name()))
			require.NoError(t, err)
			require.NoError(t, stream.SendMsg(dynamicpb.NewMessage(method.Input())))
			require.NoError(t, stream.CloseSend())
			err = stream.RecvMsg(dynamicpb.NewMessage(method.Output()))
			require.NotEqual(t, codes.Unimplemented, status.Code(err), method.FullName())
			require.NotEqual(t, codes.Internal, status.Code(err), "%s: %v", method.FullName(), err)
		}
	}
}

func services() []protoreflect.ServiceDescriptor {
	var out []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		audiencev1.File_audience_v1_ingest_service_proto, audiencev1.File_audience_v1_model_service_proto,
		audiencev1.File_audience_v1_segment_service_proto, audiencev1.File_audience_v1_membership_service_proto,
		audiencev1.File_audience_v1_audience_service_proto, audiencev1.File_audience_v1_run_service_proto,
		audiencev1.File_audience_v1_privacy_service_proto,
	} {
		out = append(out, file.Services().Get(0))
	}
	return out
}

func TestShutdown(t *testing.T) {
	t.Run("calls under way finish, streams end, new calls are refused", func(t *testing.T) {
		h := start(t, server.Config{Grace: 5 * time.Second})
		h.gate = make(chan struct{})
		run, err := h.Train(t.Context(), audience.Model{ID: "rfm"})
		require.NoError(t, err)
		watch, err := h.run.WatchRun(t.Context(), &audiencev1.WatchRunRequest{Name: "runs/" + string(run.ID)})
		require.NoError(t, err)
		_, err = watch.Recv()
		require.NoError(t, err)
		written := make(chan error, 1)
		go func() {
			_, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}})
			written <- err
		}()
		<-h.entered

		stopped := make(chan error, 1)
		go func() { stopped <- h.stop() }()
		for err == nil {
			_, err = watch.Recv()
		}
		d := requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
		require.NotNil(t, d.retry)
		require.Empty(t, written)
		h.gate <- struct{}{} // only now, the write ends
		require.NoError(t, <-written)
		require.NoError(t, <-stopped)
		_, err = h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{})
		require.Equal(t, codes.Unavailable, status.Code(err))
	})
	t.Run("a call longer than the grace is cut", func(t *testing.T) {
		h := start(t, server.Config{Grace: 50 * time.Millisecond})
		h.gate = make(chan struct{})
		cut := make(chan error, 1)
		go func() {
			_, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}})
			cut <- err
		}()
		<-h.entered
		require.NoError(t, h.stop()) // the write would never end
		require.Error(t, <-cut)
	})
}

func TestConfig(t *testing.T) {
	cases := []struct {
		name   string
		config server.Config
		error  string
	}{
		{"zero value", server.Config{}, ""},
		{"lower-case currency", server.Config{Currency: "eur"}, "currency: "},
		{"negative deadline", server.Config{Deadline: -1}, "deadline: "},
		{"negative size", server.Config{MaxMessageBytes: -1}, "max_message_bytes: "},
		{"negative grace", server.Config{Grace: -1}, "grace: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.config.Validate(); c.error == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.error)
			}
		})
	}
}
