package sandbox

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// faultList is the orders in force, oldest first.
type faultList struct{ orders []*Fault }

// Inject adds an order to fail.
func (s *Server) Inject(f Fault) error {
	switch {
	case !f.Kind.known():
		return fmt.Errorf("kind: %q is no fault", f.Kind)
	case f.Platform != "" && f.Platform != platformMeta && f.Platform != platformTikTok:
		return fmt.Errorf("platform: %q is neither meta nor tiktok", f.Platform)
	case f.Count < 0:
		return fmt.Errorf("count: %d is negative", f.Count)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability: %g is outside 0..1", f.Probability)
	case f.Kind == FaultCode && f.Code == 0:
		return fmt.Errorf("code: missing, the platform's code to answer with")
	}
	f.random = rand.New(rand.NewPCG(f.Seed, 0))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.orders = append(s.faults.orders, &f)
	return nil
}

// ClearFaults withdraws all orders.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.orders = nil
}

// Faults are the orders still in force.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, len(s.faults.orders))
	for i, f := range s.faults.orders {
		out[i] = *f
	}
	return out
}

// takeFault finds the order that strikes this request, if any, and counts it down. The caller gets a copy.
func (s *Server) takeFault(platform string, r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults.orders {
		if f.Platform != "" && f.Platform != platform || f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		if f.Probability > 0 && f.random.Float64() >= f.Probability {
			continue
		}
		if f.Kind == FaultRateLimited && f.Wait > 0 {
			if f.until.IsZero() {
				f.until = s.now().Add(time.Duration(f.Wait))
			} else if !s.now().Before(f.until) {
				s.faults.orders = slices.Delete(s.faults.orders, i, i+1)
				return nil
			}
		} else if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.faults.orders = slices.Delete(s.faults.orders, i, i+1)
			}
		}
		struck := *f
		return &struck
	}
	return nil
}
