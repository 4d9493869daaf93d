package warehouse

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a Store and ClickHouse, and can be cut at any moment: what is on its way may have arrived or not.
// Towards ClickHouse it keeps to what the embedded one survives: no reset, no end in the middle of a greeting.
type proxy struct {
	target   string
	listener net.Listener
	mu       sync.Mutex
	away     bool
	pairs    map[*pair]struct{}
	let      int           // chunks to ClickHouse that pass before one is kept
	kept     chan struct{} // closed when one is; nil: none will be
	deliver  chan struct{} // closed when it may go on
}

type pair struct {
	client, server *net.TCPConn
	answers        atomic.Int64 // chunks that came from ClickHouse; the first is its greeting
}

// behindProxy gives the DSN by which the database is reached through a proxy.
func behindProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	address, err := url.Parse(dsn)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{target: address.Host, listener: listener, pairs: map[*pair]struct{}{}}
	go p.accept()
	t.Cleanup(func() { _ = listener.Close() })
	address.Host = listener.Addr().String()
	return p, address.String()
}

// keepBack keeps what goes to ClickHouse, from the nth chunk from now on, until deliver is called.
func (p *proxy) keepBack(nth int) (kept <-chan struct{}, deliver func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.let, p.kept, p.deliver = nth-1, make(chan struct{}), make(chan struct{})
	return p.kept, sync.OnceFunc(func() { close(p.deliver) })
}

// pass waits while a chunk that goes to ClickHouse is to be kept.
func (p *proxy) pass() {
	p.mu.Lock()
	deliver := p.deliver
	switch {
	case deliver == nil:
	case p.let > 0:
		p.let--
		deliver = nil
	case p.kept != nil:
		close(p.kept)
		p.kept = nil
	}
	p.mu.Unlock()
	if deliver != nil {
		<-deliver
	}
}

// cut breaks every connection that is past its greeting and takes no new one until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for pair := range p.pairs {
		if pair.answers.Load() > 1 {
			_ = pair.client.Close()
			delete(p.pairs, pair)
		}
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.join(client.(*net.TCPConn))
	}
}

// join connects a client to ClickHouse, unless the proxy is cut.
func (p *proxy) join(client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		_ = client.Close()
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	joined := &pair{client: client, server: server.(*net.TCPConn)}
	p.pairs[joined] = struct{}{}
	go func() {
		_, _ = io.Copy(passing{joined.server, p}, client)
		_ = joined.server.CloseWrite()
	}()
	go func() {
		defer joined.server.Close()
		defer client.Close()
		chunk := make([]byte, 64<<10)
		for {
			n, err := joined.server.Read(chunk)
			joined.answers.Add(1)
			_, _ = client.Write(chunk[:n]) // when the client is gone, the rest is read and dropped
			if err != nil {
				return
			}
		}
	}()
}

// passing is a connection to ClickHouse behind the proxy's gate.
type passing struct {
	io.Writer
	*proxy
}

func (w passing) Write(chunk []byte) (int, error) {
	w.pass()
	return w.Writer.Write(chunk)
}
