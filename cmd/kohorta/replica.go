package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/lease"
	"github.com/kohorta/kohorta/sync/delivery"
)

// audienceLeases give audiences to this process.
type audienceLeases struct{ *lease.Leases }

// Take takes an audience.
func (l audienceLeases) Take(ctx context.Context, a audience.Audience) (delivery.Lease, error) {
	taken, err := l.Leases.Take(ctx, "audience/"+strconv.FormatUint(uint64(a.Number), 10))
	if err != nil {
		return nil, fmt.Errorf("audiences/%s: %w", a.ID, err)
	}
	return taken, nil
}

// name is this process's among all that share the database, or ever did.
func (s *service) name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s(%s)-%s", host, s.address(), strings.ToLower(rand.Text()[:8]))
}

// alive reports whether a process that shares the database is.
func (s *service) alive(ctx context.Context, holder string) (bool, error) {
	if s.leases == nil || holder == "" {
		return false, nil
	}
	return s.leases.Alive(ctx, replicaLease(holder))
}

func replicaLease(holder string) string { return "replica/" + holder }
