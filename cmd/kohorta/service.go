package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/privacy"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/internal/schedule"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/server"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/webhook"
)

// service is all packages, wired together.
type service struct {
	config    Config
	log       *slog.Logger
	engines   *engine.Engines // nil when both are servers
	store     *warehouse.Store
	live      *live.Store
	clock     clock
	segmenter *segmenter.Segmenter
	runner    *run.Runner
	jobs      jobs
	deliverer *delivery.Deliverer
	scheduler *schedule.Scheduler
	replica   *replica // nil where no other process can share the database
	sender    *webhook.Sender
	receiver  *webhook.Receiver
	eraser    *privacy.Eraser
	watcher   *delivery.Watcher
	server    *server.Server
	listener  net.Listener
	moves     net.Listener // of the receiver; nil when it takes none
}

// newService starts the engines that the configuration does not name servers for, opens the stores, and listens. On an
// error it stops what it had started.
func newService(ctx context.Context, config Config, log *slog.Logger) (_ *service, err error) {
	s := &service{config: config, log: log}
	if !config.Now.IsZero() {
		s.clock.set(config.Now)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	identify, err := newIdentify(config.PhoneCountry)
	if err != nil {
		return nil, fmt.Errorf("phone_country: %w", err)
	}
	// Listening comes first: a second service on the address would otherwise find out after starting engines.
	for _, open := range []func(context.Context) error{s.listen, s.openStores, s.openRunner} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	s.segmenter = segmenter.New(segmenter.Deps{
		Database: s.store, Log: s.store, Projection: s.live, Catalogue: warehouse.Catalogue{Store: s.store}, People: s.store,
		Logger: log, Now: s.clock.Now, ReadElsewhere: config.ReadElsewhere,
	})
	s.deliverer = s.newDeliverer()
	s.watcher = delivery.NewWatcher(s.deliverer, watchedDestinations{s.store}, s.resume)
	s.jobs = jobs{s.runner, s.store, s.segmenter, s.deliverer, &evaluations{runner: s.runner, segmenter: s.segmenter}}
	s.scheduler = schedule.New(schedule.Deps{
		Jobs: s.scheduled, LastRuns: s.lastRuns, Changes: s.store.ChangedSegments, Begin: s.begin, Now: s.clock.Now, Log: log,
	})
	s.eraser = privacy.New(privacy.Deps{
		Store: s.store, Membership: s.segmenter, Platforms: erasurePlatforms{s.deliverer, s.store}, Runs: s.runner, Log: log,
	})
	s.sender = webhook.NewSender(webhook.SenderDeps{
		Webhooks: s.store.Webhooks(), Places: s.store, Changes: s.segmenter, SecretPath: s.secretPath, Log: log, Now: s.clock.Now,
	})
	s.server = s.newServer(identify)
	s.receiver = webhook.NewReceiver(webhook.ReceiverDeps{
		Sources: config.Webhooks.Sources, SecretPath: s.secretPath, Mover: s.membership(), Claims: s.live, Memberships: s.server,
		Audit: s.store, Log: log, Now: time.Now,
	})
	return s, nil
}

func (s *service) listen(ctx context.Context) (err error) {
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen); err != nil {
		return fmt.Errorf("listen: %w; set listen to a free address", err)
	}
	if s.config.Webhooks.Listen == "" {
		return nil
	}
	if s.moves, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Webhooks.Listen); err != nil {
		return fmt.Errorf("webhooks.listen: %w; set it to a free address", err)
	}
	return nil
}

// openStores starts the embedded engines, if any, and opens both stores.
func (s *service) openStores(ctx context.Context) error {
	engines, clickHouse, redis := s.config.Engines, s.config.ClickHouse, s.config.Redis
	engines.Log, clickHouse.Log = s.log, s.log
	embedClickHouse, embedRedis := clickHouse.DSN == "", len(redis.Addresses) == 0
	start := engine.Start
	switch {
	case embedClickHouse && !embedRedis:
		start = engine.StartClickHouse
	case !embedClickHouse && embedRedis:
		start = engine.StartRedis
	case !embedClickHouse && !embedRedis:
		start = nil
	}
	var err error
	if start != nil {
		if s.engines, err = start(ctx, engines); err != nil {
			return err
		}
	}
	open := warehouse.Attach
	if embedClickHouse {
		open, clickHouse.DSN = warehouse.Open, s.engines.ClickHouse()
	}
	if embedRedis {
		if redis, err = embeddedRedis(s.engines.Redis()); err != nil {
			return err
		}
	}
	if s.store, err = open(ctx, clickHouse); err != nil {
		return err
	}
	s.live, err = live.Open(ctx, redis, s.log)
	return err
}

// openRunner joins the other processes that share the database, if any, and settles the runs of those that have died.
func (s *service) openRunner(ctx context.Context) error {
	deps := run.Deps{Store: s.store, Log: s.log, Grace: s.config.ShutdownGrace, Holder: processName(s.address())}
	if s.config.shared() {
		s.replica, deps.Cancels = newReplica(s.store, deps.Holder, s.config.LeaseTerm, s.log), s.store
		if err := s.replica.join(ctx); err != nil {
			return err
		}
	}
	s.runner = run.New(deps)
	return s.runner.Recover(ctx, s.replica.alive)
}

func (s *service) newDeliverer() *delivery.Deliverer {
	deps := delivery.Deps{Ledger: syncLedger{s.store, s.edition, s.clock.Now}, Catalogue: syncCatalogue{s.store, s.edition}, Connect: s.connect, Log: s.log}
	deps.Values = func(ctx context.Context, expression string) (audience.Query, error) {
		return s.segmenter.Values(ctx, expression, s.clock.Now())
	}
	if s.replica != nil {
		deps.Leases = &audienceLeases{Leases: s.replica.leases, groups: map[string]*groupLease{}}
		deps.Announce = s.announce
	}
	return delivery.New(deps)
}

// membership is membership in motion, for callers over gRPC and over HTTP.
func (s *service) membership() writersMembership {
	return writersMembership{mover{s.segmenter, s.deliverer}, s.store}
}

func (s *service) newServer(identify server.Identify) *server.Server {
	store := liveStore{s.store, s.segmenter}
	return server.New(server.Deps{
		Config: server.Config{Currency: s.config.Currency, Grace: s.config.ShutdownGrace}, Log: s.log, Now: s.clock.Now,
		Segments: s.store.Segments(), Versions: s.store.Segments(), Models: s.store.Models(), Scores: s.store,
		Destinations: s.store.Destinations(), Audiences: s.store.Audiences(), Lookalikes: s.store.Lookalikes(), Webhooks: s.store.Webhooks(),
		Events: store, Profiles: profiles{store, s.deliverer}, Answers: s.store, Identify: identify,
		Memberships: s.live, Members: s.store, History: s.store, Live: s.membership(), Segmenter: s.segmenter, Explainer: s.segmenter,
		Check: s.checkDestination, Platforms: retirer{s.deliverer, s.store}, Planner: planner{s.deliverer}, Healths: s.watcher,
		Receivers: s.sender, Jobs: s.jobs, Runs: s.runner, Schedules: schedules{&s.clock},
		Privacy: office{s.store, s.eraser, s.deliverer}, Audit: s.store,
	})
}

// address is where the service answers.
func (s *service) address() string { return s.listener.Addr().String() }

// run serves until ctx ends, then drains: calls first, then runs, then the projector.
func (s *service) run(ctx context.Context) error {
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer stopWorking()
		accepting, stopAccepting := context.WithCancel(serving)
		err := s.server.Serve(accepting, s.listener)
		stopAccepting() // runs end, too, when serving has failed
		return errors.Join(err, s.runner.Run(accepting))
	})
	if s.moves != nil {
		group.Go(func() error { return s.receiver.Serve(serving, s.moves, s.config.ShutdownGrace) })
	}
	group.Go(func() error { return s.scheduler.Run(serving) })
	group.Go(func() error { return s.watcher.Run(working) })
	group.Go(func() error { return s.write(serving, working) })
	if s.replica != nil {
		group.Go(func() error { return s.replica.attend(working, s.runner) })
		group.Go(func() error { return s.live.HearStops(working, s.deliverer.Heard) })
	}
	if s.engines != nil {
		group.Go(func() error { return s.engines.Run(working) })
	}
	return group.Wait()
}

// write does the writer's work once this process is the writer: webhooks until serving ends, the rest until working ends.
func (s *service) write(serving, working context.Context) error {
	if !s.lead(serving, working) { // this process never became the writer
		return nil
	}
	group, writing := errgroup.WithContext(working)
	sending, stopSending := context.WithCancel(writing)
	defer context.AfterFunc(serving, stopSending)()
	group.Go(func() error { return s.replica.keepWriting(writing) })
	group.Go(func() error { return s.sender.Run(sending) })
	group.Go(func() error { return s.segmenter.Run(writing) })
	group.Go(func() error { return s.deliverer.Run(writing) })
	group.Go(func() error { return s.eraser.Run(writing) })
	return group.Wait()
}

// close releases the stores and stops the engines. Closing what never opened is harmless.
func (s *service) close() error {
	var errs []error
	for _, listener := range []net.Listener{s.listener, s.moves} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.live != nil {
		errs = append(errs, s.live.Close())
	}
	if s.replica != nil {
		s.replica.leave()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.engines != nil {
		errs = append(errs, s.engines.Close())
	}
	return errors.Join(errs...)
}
