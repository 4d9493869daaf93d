package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// redisSettings are for a projection that can be rebuilt from ClickHouse, but need not be after every restart: each write is appended to a file,
// which costs little and survives kill -9; a power cut may take the last second, which the rebuild heals. No snapshots: their fork doubles memory.
// Buckets of up to 256 users keep the small-hash encoding. The settings go through standard input, so the password is in no file and no process list.
const redisSettings = `bind 127.0.0.1
port %d
dir %s
requirepass %s
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
hash-max-listpack-entries 256
hash-max-listpack-value 1024
`

func (l *launcher) redis(ctx context.Context) error {
	return onPort("redis_port", l.RedisPort, func(port int) error { return l.redisOn(ctx, port) })
}

func (l *launcher) redisOn(ctx context.Context, port int) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l.engines.redisURL = fmt.Sprintf("redis://:%s@%s/0", l.password, address)
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		l.Log.Warn("no redis-server on PATH (Debian package redis-server): memberships are kept in this process and rebuilt at each start", "port", port)
		return l.miniredis(address)
	}
	dir, err := l.subdirectory("redis")
	if err != nil {
		return err
	}
	output, err := openLog(filepath.Join(dir, "redis.log"))
	if err != nil {
		return err
	}
	l.engines.redis = &child{
		name:    "Redis",
		ending:  syscall.SIGTERM,
		grace:   stopGrace,
		timeout: l.StartTimeout,
		pause:   firstPause,
		inherit: l.inherit,
		keep:    l.engines.lifeline,
		output:  output,
		log:     l.Log,
		command: func() *exec.Cmd {
			cmd := exec.Command(binary, "-")
			cmd.Stdin = strings.NewReader(fmt.Sprintf(redisSettings, port, strconv.Quote(dir), l.password))
			return cmd
		},
		answers: func(ctx context.Context) error { return pingRedis(ctx, address, l.password) },
	}
	return l.engines.redis.start(ctx)
}

// miniredis serves Redis from this process. Keys expire by the clock, which miniredis does only when told.
func (l *launcher) miniredis(address string) error {
	server := miniredis.NewMiniRedis()
	server.RequireAuth(l.password)
	server.ClockTTL(true)
	if err := server.StartAddr(address); errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("start the in-process Redis: %w: %w", err, errPortTaken)
	} else if err != nil {
		return fmt.Errorf("start the in-process Redis: %w", err)
	}
	l.engines.inProcess = server.Close
	return nil
}

// pingRedis returns nil if the Redis at address takes the password and has loaded its data.
func pingRedis(ctx context.Context, address, password string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", password); err != nil {
		return err
	}
	answers := bufio.NewScanner(conn)
	for _, want := range []string{"+OK", "+PONG"} {
		if !answers.Scan() || answers.Text() != want {
			return fmt.Errorf("Redis answers %q instead of %q", answers.Text(), want)
		}
	}
	return nil
}
