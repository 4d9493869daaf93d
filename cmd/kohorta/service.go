package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/privacy"
	"github.com/kohorta/kohorta/internal/run"
	"github.com/kohorta/kohorta/internal/schedule"
	"github.com/kohorta/kohorta/internal/secret"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/server"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/tiktok"
	"github.com/kohorta/kohorta/webhook"
)

// service is all rooms, tied together.
type service struct {
	config    Config
	log       *slog.Logger
	engines   *engine.Engines // nil when both are servers
	store     *warehouse.Store
	live      *live.Store
	clock     clock
	segmenter *segmenter.Segmenter
	everybody *evaluations
	runner    *run.Runner
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

// newService starts the engines that the configuration does not name servers for, opens the stores, and listens. What it
// has begun when it fails is ended again.
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
	// The address first: a second service on it would otherwise find out after starting engines.
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", config.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w; set listen to a free address", err)
	}
	if config.Webhooks.Listen != "" {
		if s.moves, err = new(net.ListenConfig).Listen(ctx, "tcp", config.Webhooks.Listen); err != nil {
			return nil, fmt.Errorf("webhooks.listen: %w; set it to a free address", err)
		}
	}
	if err = s.openStores(ctx); err != nil {
		return nil, err
	}
	deps := run.Deps{Store: s.store, Log: log, Grace: config.ShutdownGrace, Holder: processName(s.address())}
	if config.shared() {
		s.replica, deps.Cancels = newReplica(s.store, deps.Holder, config.LeaseTerm, log), s.store
		if err = s.replica.join(ctx); err != nil {
			return nil, err
		}
	}
	s.runner = run.New(deps)
	if err = s.runner.Recover(ctx, s.replica.alive); err != nil {
		return nil, err
	}
	s.segmenter = segmenter.New(segmenter.Deps{
		Database: s.store, Log: s.store, Projection: s.live, Catalogue: warehouse.Catalogue{Store: s.store}, People: s.store,
		Logger: log, Now: s.clock.Now, ReadElsewhere: config.ReadElsewhere,
	})
	s.everybody = &evaluations{runner: s.runner, segmenter: s.segmenter}
	store := liveStore{s.store, s.segmenter}
	syncing := delivery.Deps{Ledger: syncLedger{s.store, s.edition}, Catalogue: syncCatalogue{s.store, s.edition}, Connect: s.connect, Log: log}
	if s.replica != nil {
		syncing.Leases = &audienceLeases{Leases: s.replica.leases, groups: map[string]*groupLease{}}
		syncing.Announce = s.announce
	}
	s.deliverer = delivery.New(syncing)
	s.scheduler = schedule.New(schedule.Deps{
		Jobs: s.scheduled, LastRuns: s.lastRuns, Changes: s.store.ChangedSegments, Begin: s.begin, Now: s.clock.Now, Log: log,
	})
	membership := writersMembership{mover{s.segmenter, s.deliverer}, s.store}
	s.sender = webhook.NewSender(webhook.SenderDeps{
		Webhooks: s.store.Webhooks(), Places: s.store, Changes: s.segmenter, SecretPath: s.secretPath, Log: log, Now: s.clock.Now,
	})
	s.watcher = delivery.NewWatcher(s.deliverer, watchedDestinations{s.store}, s.resume)
	s.eraser = privacy.New(privacy.Deps{
		Store: s.store, Membership: s.segmenter, Platforms: erasurePlatforms{s.deliverer, s.store}, Runs: s.runner, Log: log,
	})
	identify, err := newIdentify(config.PhoneCountry)
	if err != nil {
		return nil, fmt.Errorf("phone_country: %w", err)
	}
	s.server = server.New(server.Deps{
		Config: server.Config{Currency: config.Currency, Grace: config.ShutdownGrace}, Log: log, Now: s.clock.Now,
		Segments: s.store.Segments(), Models: s.store.Models(), Destinations: s.store.Destinations(), Audiences: s.store.Audiences(),
		Lookalikes: s.store.Lookalikes(),
		Webhooks:   s.store.Webhooks(), Receivers: s.sender,
		Events: store, Profiles: profiles{store, s.deliverer}, Answers: s.store, Identify: identify, Segmenter: s.segmenter,
		Memberships: s.live, Members: s.store, History: s.store, Live: membership, Explainer: s.segmenter, Versions: s.store.Segments(), Scores: s.store,
		Check: s.checkDestination, Platforms: retirer{s.deliverer, s.store}, Planner: planner{s.deliverer}, Healths: s.watcher, Jobs: s.jobs(), Runs: s.runner, Schedules: schedules{&s.clock},
		Privacy: office{s.store, s.eraser, s.deliverer}, Audit: s.store,
	})
	s.receiver = webhook.NewReceiver(webhook.ReceiverDeps{
		Sources: config.Webhooks.Sources, SecretPath: s.secretPath, Mover: membership, Claims: s.live, Memberships: s.server,
		Audit: s.store, Log: log, Now: time.Now,
	})
	return s, nil
}

func (s *service) jobs() jobs { return jobs{s.runner, s.store, s.segmenter, s.deliverer, s.everybody} }

// openStores starts what must be started and opens both stores.
func (s *service) openStores(ctx context.Context) error {
	start := engine.Start
	embedClickHouse, embedRedis := s.config.ClickHouse.DSN == "", len(s.config.Redis.Addresses) == 0
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
		s.config.Engines.Log = s.log
		if s.engines, err = start(ctx, s.config.Engines); err != nil {
			return err
		}
	}
	if embedClickHouse {
		s.config.ClickHouse.DSN = s.engines.ClickHouse()
	}
	if embedRedis {
		if s.config.Redis, err = embeddedRedis(s.engines.Redis()); err != nil {
			return err
		}
	}
	s.config.ClickHouse.Log = s.log
	open := warehouse.Open
	if !embedClickHouse {
		open = warehouse.Attach
	}
	if s.store, err = open(ctx, s.config.ClickHouse); err != nil {
		return err
	}
	s.live, err = live.Open(ctx, s.config.Redis, s.log)
	return err
}

// address is where the service answers.
func (s *service) address() string { return s.listener.Addr().String() }

// run answers until ctx ends, then drains: calls first, then runs, then the projector.
func (s *service) run(ctx context.Context) error {
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer stopWorking()
		accepting, stopAccepting := context.WithCancel(serving)
		err := s.server.Serve(accepting, s.listener)
		stopAccepting() // where it has failed by itself, runs are to end as well
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

// write does what is the writer's, once this process is: until serving ends it tells receivers, until working ends all else.
func (s *service) write(serving, working context.Context) error {
	if !s.lead(serving, working) { // nobody had to write while this process was there
		return nil
	}
	group, writing := errgroup.WithContext(working)
	telling, stopTelling := context.WithCancel(writing)
	defer context.AfterFunc(serving, stopTelling)()
	group.Go(func() error { return s.replica.keepWriting(writing) })
	group.Go(func() error { return s.sender.Run(telling) })
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

// secretPath is where a secret is: a file in the secrets directory, named without a path, or a variable; "" for none.
func (s *service) secretPath(name string) string {
	if name == "" || strings.HasPrefix(name, secret.Env) {
		return name
	}
	return filepath.Join(s.config.SecretsDir, filepath.Base(name))
}

// connect makes the connector of a destination.
func (s *service) connect(d audience.Destination) (destination.Destination, error) {
	switch d.Platform {
	case audience.PlatformMeta:
		return meta.New(meta.Config{
			Account: d.Account, TokenFile: s.secretPath(d.TokenSecret), AppSecretFile: s.secretPath(d.AppSecret), BaseURL: d.BaseURL,
			Version: d.APIVersion, Columns: d.Columns,
			BatchRows: d.BatchRows, RequestsPerSecond: d.RequestsPerS,
		}, s.log)
	case audience.PlatformTikTok:
		return tiktok.New(tiktok.Config{
			Account: d.Account, TokenFile: s.secretPath(d.TokenSecret), BaseURL: d.BaseURL, EmailMode: d.EmailMode,
			BatchRows: d.BatchRows, RequestsPerSecond: d.RequestsPerS,
		}, s.log)
	}
	return nil, audience.Invalid("platform", "%q is not meta or tiktok", d.Platform)
}

// checkDestination says what the connector of a destination would not work with.
func (s *service) checkDestination(d audience.Destination) error {
	_, err := s.connect(d)
	return err
}

// newIdentify is sync/identity as the server asks for it. A hasher serves one caller at a time, so each has its own.
func newIdentify(phoneCountry string) (server.Identify, error) {
	if _, err := identity.NewHasher(phoneCountry); err != nil {
		return nil, err
	}
	hashers := sync.Pool{New: func() any {
		hasher, err := identity.NewHasher(phoneCountry)
		if err != nil {
			panic(err) // the same call has just succeeded
		}
		return hasher
	}}
	return func(facts []server.Fact) ([]audience.Identifier, []server.DroppedFact) {
		hasher := hashers.Get().(*identity.Hasher)
		defer hashers.Put(hasher)
		inputs := make([]identity.Input, len(facts))
		for i, fact := range facts {
			inputs[i] = identity.Input{Field: identity.Field(fact.Field), Value: identity.Raw(fact.Value), Hashed: fact.Hashed, Scheme: fact.Scheme}
		}
		identifiers, left := hasher.Identify(inputs)
		dropped := make([]server.DroppedFact, len(left))
		for i, d := range left {
			dropped[i] = server.DroppedFact{Field: string(d.Field), Schemes: d.Schemes, Reason: d.Reason}
		}
		return identifiers, dropped
	}, nil
}
