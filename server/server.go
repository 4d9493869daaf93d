package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// Deps are what the server asks. All are required.
type Deps struct {
	Config Config
	Log    *slog.Logger
	Now    func() time.Time // the service's clock, on which users live

	Segments     Resources[audience.Segment]
	Models       Resources[audience.Model]
	Destinations Resources[audience.Destination]
	Audiences    Resources[audience.Audience]
	Lookalikes   Resources[audience.Lookalike]
	Webhooks     Resources[audience.Webhook]

	Events      Events
	Profiles    Profiles
	Answers     Answers
	Identify    Identify
	Segmenter   Segmenter
	Memberships Memberships
	Members     Members
	History     History
	Live        Live
	Explainer   Explainer
	Versions    Versions
	Scores      Scores
	Check       CheckDestination
	Platforms   Platforms
	Planner     Planner
	Healths     Healths
	Jobs        Jobs
	Runs        Runs
	Schedules   Schedules
	Receivers   Receivers
	Privacy     Privacy
	Audit       Audit
}

// Server answers the services of the contract, health and reflection.
type Server struct {
	config      Config
	memberships *membershipService
	grpc        *grpc.Server
	draining    context.Context // ends when the server stops; streams end with it
	drain       context.CancelFunc
}

// New makes a Server. Serve starts it, once.
func New(deps Deps) *Server {
	deps.Config = deps.Config.withDefaults()
	directory := newDirectory(deps.Live, deps.Segments)
	s := &Server{config: deps.Config, memberships: newMembershipService(deps, directory)}
	s.draining, s.drain = context.WithCancel(context.Background())
	calls := &calls{log: deps.Log, audit: deps.Audit, deadline: deps.Config.Deadline, draining: s.draining, reads: map[string]bool{}}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(readAhead*deps.Config.MaxMessageBytes),
		grpc.ForceServerCodecV2(newCodec(deps.Config.MaxMessageBytes)),
		grpc.StreamInterceptor(calls.serve),
	)
	repeats := newRepeats(deps.Answers, deps.Log)
	writing := new(sync.Mutex)
	calls.register(s.grpc, &audiencev1.IngestService_ServiceDesc, newIngestService(deps, repeats))
	calls.register(s.grpc, &audiencev1.ModelService_ServiceDesc, newModelService(deps, repeats, writing))
	calls.register(s.grpc, &audiencev1.SegmentService_ServiceDesc, newSegmentService(deps, repeats, writing, directory))
	calls.register(s.grpc, &audiencev1.MembershipService_ServiceDesc, s.memberships)
	calls.register(s.grpc, &audiencev1.AudienceService_ServiceDesc, newAudienceService(deps, repeats, writing))
	calls.register(s.grpc, &audiencev1.WebhookService_ServiceDesc, newWebhookService(deps, repeats, writing))
	calls.register(s.grpc, &audiencev1.RunService_ServiceDesc, &runService{runs: deps.Runs, jobs: deps.Jobs, repeats: repeats})
	calls.register(s.grpc, &audiencev1.PrivacyService_ServiceDesc, newPrivacyService(deps, repeats))
	alive := health.NewServer()
	for service := range s.grpc.GetServiceInfo() {
		alive.SetServingStatus(service, healthv1.HealthCheckResponse_SERVING)
	}
	healthv1.RegisterHealthServer(s.grpc, alive)
	reflection.Register(s.grpc)
	return s
}

// Serve answers on the listener until ctx ends, then takes no new calls, ends streams, lets other calls under way finish
// within the grace, and returns. The listener is closed.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer s.drain()
	ended := make(chan error, 1)
	go func() { ended <- s.grpc.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}

	s.drain()
	expired := time.AfterFunc(s.config.Grace, s.grpc.Stop)
	defer expired.Stop()
	s.grpc.GracefulStop()
	if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return nil
}
