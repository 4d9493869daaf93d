package warehouse

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

func TestDriverErrorsBecomeKinds(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		kind error
	}{
		{"connection refused", t.Context(), &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, audience.ErrUnavailable},
		{"connection reset", t.Context(), fmt.Errorf("read: %w", syscall.ECONNRESET), audience.ErrUnavailable},
		{"answer broken off", t.Context(), fmt.Errorf("block: %w", io.ErrUnexpectedEOF), audience.ErrUnavailable},
		{"no such host", t.Context(), &net.DNSError{Err: "no such host"}, audience.ErrUnavailable},
		{"no connection free", t.Context(), clickhouse.ErrAcquireConnTimeout, audience.ErrUnavailable},
		{"disk full", t.Context(), &clickhouse.Exception{Code: 243}, audience.ErrUnavailable},
		{"too many parts", t.Context(), &clickhouse.Exception{Code: 252}, audience.ErrUnavailable},
		{"shutting down", t.Context(), &clickhouse.Exception{Code: 236}, audience.ErrUnavailable},
		{"memory limit", t.Context(), &clickhouse.Exception{Code: 241}, audience.ErrExhausted},
		{"the caller has gone", ended, &clickhouse.Exception{Code: 394}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := translated(c.ctx, c.err)
			require.ErrorIs(t, err, c.kind)
			if c.ctx.Err() == nil {
				require.ErrorIs(t, err, c.err, "the cause is kept")
			}
		})
	}
	syntax := &clickhouse.Exception{Code: 62}
	require.Equal(t, error(syntax), translated(t.Context(), syntax), "a fault of ours stays what it is")
	require.NoError(t, translated(ended, nil))
}

func TestNobodyAtTheAddress(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = Open(t.Context(), Config{DSN: "clickhouse://" + address + "/x"})
	require.ErrorIs(t, err, audience.ErrUnavailable)
	require.ErrorContains(t, err, "connect to clickhouse")
}

func TestConnectionsThatEndedWhileIdleAreNotAsked(t *testing.T) {
	cut, dsn := behindProxy(t, enginetest.ClickHouse(t))
	store := reopen(t, dsn)
	const several = 6
	var atOnce sync.WaitGroup
	for range several {
		atOnce.Go(func() {
			assert.NoError(t, store.Exec(t.Context(), audience.Query{SQL: "SELECT sleep(0.5) FORMAT Null"}))
		})
	}
	atOnce.Wait()
	cut.cut()
	cut.mend()
	for range several {
		require.NoError(t, store.Ping(t.Context()))
	}
}

func TestBadConfigurations(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	const dsn = "clickhouse://localhost:9000/kohorta"
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no dsn", Config{}, "clickhouse: dsn: is empty; write clickhouse://host:9000/database"},
		{"no address", Config{DSN: "kohorta"}, "clickhouse: dsn: is not an address such as clickhouse://host:9000/database"},
		{"http", Config{DSN: "http://localhost:8123/kohorta"}, "clickhouse: dsn: is not of the native protocol; write clickhouse://host:9000/database"},
		{"password not repeated", Config{DSN: "clickhouse://user:secret%zz@localhost"}, "clickhouse: dsn: is not an address such as clickhouse://host:9000/database"},
		{"no password file", Config{DSN: dsn, PasswordFile: "/nowhere"}, "clickhouse: password_file: cannot be read: open /nowhere: no such file or directory"},
		{"no authority", Config{DSN: dsn, TLS: TLS{CAFile: empty}}, "clickhouse: tls.ca_file: holds no PEM certificate"},
		{"half a pair", Config{DSN: dsn, TLS: TLS{CertFile: empty}}, "clickhouse: tls.cert_file: and tls.key_file are no pair: open : no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) { require.EqualError(t, c.config.Validate(), c.want) })
	}
	require.NoError(t, Config{DSN: dsn, TLS: TLS{Enabled: true, ServerName: "clickhouse.internal"}}.Validate())
}
