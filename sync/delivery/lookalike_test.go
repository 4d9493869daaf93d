package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
)

// stillWorking is a platform that makes no lookalike yet: it works on the audience it is to start from.
type stillWorking struct {
	connection
	destination.Lookalikes
	wait  time.Duration
	asked *int
}

func (s stillWorking) EnsureLookalike(context.Context, destination.LookalikeSpec) (string, error) {
	*s.asked++
	return "", &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, Code: "40002", RetryAfter: s.wait, Err: errors.New("it is being worked on")}
}

// A platform that asks for patience is not told to have been silent, and nobody is kept waiting for longer than is of use.
func TestALookalikeThatHasToWait(t *testing.T) {
	for name, wait := range map[string]time.Duration{"a quarter of an hour": 15 * time.Minute, "some seconds": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, asked := newWorld(), 0
				w.audience.PlatformID = "1"
				d := delivery.New(delivery.Deps{Ledger: w, Catalogue: w, Log: slog.New(slog.DiscardHandler), Connect: func(audience.Destination) (destination.Destination, error) {
					return stillWorking{connection: connection{w.platform, w}, wait: wait, asked: &asked}, nil
				}})
				began := time.Now()
				_, err := d.CreateLookalike(t.Context(), audience.Lookalike{ID: "like", Source: "vip"})
				var away *audience.UnavailableError
				require.ErrorAs(t, err, &away)
				require.Equal(t, wait, away.RetryAfter)
				require.ErrorContains(t, err, "it is being worked on")
				if wait > 20*time.Second {
					require.Zero(t, time.Since(began))
					require.Equal(t, 1, asked)
				} else {
					require.Greater(t, asked, 1)
				}
			})
		})
	}
}
