// Package sandbox is a stand-in for the two advertising platforms: the audience endpoints of the Meta Marketing API and of
// the TikTok Business API, kept in memory, on loopback. It validates as strictly as the platforms do, keeps their quotas,
// fails on demand, and, unlike the platforms, says exactly whom an audience holds.
//
// Requests come in over HTTP, under the platforms' own paths; state goes out over HTTP under /admin/ and in-process through
// Server.Meta and Server.TikTok. The package imports the standard library only and does not know the clients it tests.
package sandbox

import (
	"net/http"
	"sync"
	"time"
)

// Server is both platforms, their clock, their faults and the log of what was asked. Safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex // guards everything below, both platforms included
	ahead   time.Duration
	quotas  bool
	revoked map[string]bool // tokens
	faults  faultList
	journal journal
	meta    *Meta
	tiktok  *TikTok
}

// New makes a sandbox without audiences.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults()}
	s.Reset()
	return s
}

// Reset forgets audiences, faults, revocations, quotas used, the request log and the advanced clock: the server is as New made it.
// The Meta and TikTok values taken before stay valid.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = 0
	s.quotas = !s.cfg.QuotasOff
	s.revoked = map[string]bool{}
	s.faults = faultList{}
	s.journal = newJournal()
	if s.meta == nil {
		s.meta, s.tiktok = &Meta{server: s}, &TikTok{server: s}
	}
	s.meta.reset()
	s.tiktok.reset()
}

// Meta is the Meta side, for reading its true state and for setting its switches.
func (s *Server) Meta() *Meta { return s.meta }

// TikTok is the TikTok side, for reading its true state.
func (s *Server) TikTok() *TikTok { return s.tiktok }

// Handler serves Meta under /v{N}.{M}/, TikTok under /open_api/ and the sandbox's own control under /admin/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.exchange(platformMeta, s.meta))
	mux.Handle("/open_api/", s.exchange(platformTikTok, s.tiktok))
	mux.Handle("/admin/", s.admin())
	return mux
}

// Now is the time the platforms believe in.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Advance moves the platforms' clock ahead by d: audiences fill, budgets recover, replaces end.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// RevokeToken has both platforms refuse a token from now on.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[token] = true
}

// EnforceQuotas turns the refusals over quota on or off. Usage is counted and reported in either case.
func (s *Server) EnforceQuotas(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas = on
}

// now needs mu.
func (s *Server) now() time.Time { return s.cfg.Now().Add(s.ahead).UTC() }
