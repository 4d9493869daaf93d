package warehouse

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a Store and ClickHouse, and can be cut at any moment: what is on its way may have arrived or not.
type proxy struct {
	target   string
	listener net.Listener
	mu       sync.Mutex
	away     bool
	conns    []net.Conn
}

// behindProxy gives the DSN by which the database is reached through a proxy.
func behindProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	address, err := url.Parse(dsn)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{target: address.Host, listener: listener}
	go p.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
	})
	address.Host = listener.Addr().String()
	return p, address.String()
}

// cut breaks every connection and takes no new one until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
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
		if server := p.join(client); server != nil {
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}
}

// join connects a client to ClickHouse, unless the proxy is cut.
func (p *proxy) join(client net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.away {
		if server, err := net.Dial("tcp", p.target); err == nil {
			p.conns = append(p.conns, client, server)
			return server
		}
	}
	_ = client.Close()
	return nil
}
