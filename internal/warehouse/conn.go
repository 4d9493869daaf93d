package warehouse

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lingerTimeout bounds how long a connection that was given up is still read to its end.
const lingerTimeout = 10 * time.Second

// dial connects for the driver, which gives a connection up in the middle of an answer when a caller's time is over.
// Closed with unread data, a socket resets; the library behind the embedded ClickHouse (chdb 26.7) does not survive a
// reset while it waits for the next query ("Terminate called for uncaught exception"). So the end is said in order, and
// what still comes is read and dropped.
func dial(config *tls.Config) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		closing := &lingeringConn{Conn: conn}
		if config == nil {
			return closing, nil
		}
		if config.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			config = config.Clone()
			config.ServerName = host
		}
		return tls.Client(closing, config), nil
	}
}

// lingeringConn ends by saying so and listening until the other side has ended, too, without making Close wait.
type lingeringConn struct {
	net.Conn
	closed  atomic.Bool
	reading sync.Mutex
}

// SyscallConn lets the driver see that the other side has ended an idle connection, before it asks anything on it.
func (c *lingeringConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

func (c *lingeringConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Read(p)
}

func (c *lingeringConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil {
		return c.Conn.Close()
	}
	_ = tcp.SetReadDeadline(time.Unix(1, 0)) // wakes a Read that waits
	go func() {
		defer tcp.Close()
		c.reading.Lock()
		defer c.reading.Unlock()
		_ = tcp.SetReadDeadline(time.Time{})
		defer time.AfterFunc(lingerTimeout, func() { _ = tcp.Close() }).Stop()
		_, _ = io.Copy(io.Discard, tcp)
	}()
	return nil
}
