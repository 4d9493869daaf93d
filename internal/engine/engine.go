// Package engine brings the two databases along: it starts a real ClickHouse and a real Redis as children of this process, keeps them
// running, and stops them. A directory goes in, two addresses come out; which tables and keys live there is not known here.
//
// ClickHouse is a `clickhouse` binary if one is on PATH, else the library libchdb.so (npm package @chdb/lib-<os>-<arch>), a whole ClickHouse
// engine: this executable starts itself again, loads the library without cgo and lets it serve the native protocol. That is why main, and
// every test binary, calls [RunChild] before anything else. Redis is a `redis-server` from PATH, else an in-process miniredis that forgets
// everything on exit; Redis is a projection here, so that is allowed, and the log says so.
//
// What holds:
//   - The children never outlive this process, kill -9 included: on Linux the kernel kills them (Pdeathsig), and on every system they watch a
//     pipe that only this process holds open.
//   - One process uses a directory at a time. The children hold the lock too, so a successor waits for the last of them to be gone.
//   - A child that dies is started again on the same port; after several deaths in a row [Engines.Run] returns the reason.
//   - No client ends ClickHouse, whether it sends rubbish, breaks off or is killed (on Linux; elsewhere ClickHouse is started again).
//   - Both listen on 127.0.0.1 only, behind a password made at each start: libchdb lets whoever may query it read any file of its user.
//   - An acknowledged insert survives kill -9 of everything, and with ClickHouse also a power cut (unless NoSync is set).
//
// Several servers, a cluster or TLS are not this room's business: give kohorta their addresses and none of this is started.
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config says where the engines live. Only Dir is required.
type Config struct {
	// Dir holds the data, settings and logs of both engines; it is created if missing. Required.
	Dir string `yaml:"dir"`
	// ClickHousePort is the port of the native protocol on 127.0.0.1. 0 takes a free one.
	ClickHousePort int `yaml:"clickhouse_port"`
	// RedisPort is the port of Redis on 127.0.0.1. 0 takes a free one.
	RedisPort int `yaml:"redis_port"`
	// ClickHouseLibrary is the path of libchdb.so. Empty searches: the environment variable KOHORTA_CHDB_LIB, a `clickhouse` binary on PATH,
	// node_modules/@chdb beside the executable or the working directory or above them.
	ClickHouseLibrary string `yaml:"clickhouse_library"`
	// StartTimeout is how long an engine may take until it answers. 0 means 60 s: tables with very many parts load slowly.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// NoSync leaves it to the system when ClickHouse's files reach the disk: faster, but a power cut may take the last seconds. For tests.
	NoSync bool `yaml:"no_sync"`
	// Log receives what happens to the children. nil means slog.Default().
	Log *slog.Logger `yaml:"-"`
}

// Validate names every field that cannot be right, by its path in the configuration.
func (c Config) Validate() error {
	var err error
	if c.Dir == "" {
		err = errors.Join(err, errors.New("dir: required: the directory that holds the engines' data"))
	}
	for field, port := range map[string]int{"clickhouse_port": c.ClickHousePort, "redis_port": c.RedisPort} {
		if port < 0 || port > 65535 {
			err = errors.Join(err, fmt.Errorf("%s: %d is no port: 1 to 65535, or 0 for a free one", field, port))
		}
	}
	if c.StartTimeout < 0 {
		err = errors.Join(err, fmt.Errorf("start_timeout: %s is negative: 0 means 60 s", c.StartTimeout))
	}
	return err
}

// ErrMissing is wrapped by the error of a start that found no ClickHouse to start.
var ErrMissing = errors.New("no ClickHouse found")

// Engines are the running engines of one directory. Its methods are safe for concurrent use.
type Engines struct {
	dir        *directory
	watched    *os.File // the end of the lifeline that each child inherits
	lifeline   *os.File // the other end: the children end when it closes
	clickhouse *child   // nil if not asked for
	redis      *child   // nil if not asked for, or in-process
	inProcess  func()   // stops the in-process Redis; nil if there is none

	clickhouseDSN, redisURL string
}

// Start starts both engines and returns once both answer. On error nothing is left running. ctx bounds the start only; [Engines.Close] stops them.
func Start(ctx context.Context, cfg Config) (*Engines, error) {
	return start(ctx, cfg, (*launcher).clickhouse, (*launcher).redis)
}

// StartClickHouse starts ClickHouse alone, for those who bring their own Redis.
func StartClickHouse(ctx context.Context, cfg Config) (*Engines, error) {
	return start(ctx, cfg, (*launcher).clickhouse)
}

// StartRedis starts Redis alone, for those who bring their own ClickHouse.
func StartRedis(ctx context.Context, cfg Config) (*Engines, error) {
	return start(ctx, cfg, (*launcher).redis)
}

// launcher is what the start of one engine needs to know.
type launcher struct {
	Config

	password string
	inherit  []*os.File
	engines  *Engines
}

func start(ctx context.Context, cfg Config, launch ...func(*launcher, context.Context) error) (*Engines, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = time.Minute
	}
	dir, err := openDirectory(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir.path
	watched, lifeline, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the engines' lifeline: %w", err), dir.close())
	}

	e := &Engines{dir: dir, watched: watched, lifeline: lifeline}
	l := &launcher{Config: cfg, password: rand.Text(), inherit: []*os.File{watched, dir.lock}, engines: e}
	failed := make(chan error, len(launch))
	for _, engine := range launch {
		go func() { failed <- engine(l, ctx) }()
	}
	for range launch {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// ClickHouse is the address for clickhouse-go's ParseDSN, with its password: not for logs. Empty if ClickHouse was not started.
func (e *Engines) ClickHouse() string { return e.clickhouseDSN }

// Redis is the address for go-redis' ParseURL, with its password: not for logs. Empty if Redis was not started.
func (e *Engines) Redis() string { return e.redisURL }

// Run returns nil once ctx has ended or the engines were closed, and an error once an engine has died too often to be started again.
// The engines are supervised whether Run is called or not; it stops nothing.
func (e *Engines) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.clickhouse.lost():
		return e.clickhouse.err
	case <-e.redis.lost():
		return e.redis.err
	}
}

// Close stops the engines, waits until they are gone and frees the directory. Closing twice is harmless.
func (e *Engines) Close() error {
	stopped := make(chan struct{}, 2)
	for _, c := range []*child{e.clickhouse, e.redis} {
		go func() { c.close(); stopped <- struct{}{} }()
	}
	<-stopped
	<-stopped
	if e.inProcess != nil {
		e.inProcess()
	}
	e.lifeline.Close()
	e.watched.Close()
	return e.dir.close()
}

// subdirectory creates a directory of one engine, which other users may not read.
func (l *launcher) subdirectory(name string) (string, error) {
	path := filepath.Join(l.Dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("create the directory of %s: %w", name, err)
	}
	return path, nil
}
