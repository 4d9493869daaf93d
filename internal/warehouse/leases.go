package warehouse

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/leases.sql
var leasesSQL string

// fenceGap is the least from one fence of a name to the next: a holder writes less often under its own.
const fenceGap = 1_000_000_000

// Lease says who has a name.
func (s *Store) Lease(ctx context.Context, name string) (audience.LeaseState, error) {
	state, _, err := first(ctx, s, audience.Query{
		SQL: `SELECT fence, holder, dateDiff('millisecond', greatest(claim.time, beat.time), now64(3)), beat.released
			FROM (SELECT fence, holder, time FROM leases WHERE name = {name:String} ORDER BY fence DESC LIMIT 1) AS claim
			LEFT JOIN (SELECT fence, max(time) AS time, max(released) AS released FROM lease_beats WHERE name = {name:String} GROUP BY fence) AS beat
			USING (fence)`,
		Params: map[string]any{"name": name},
	}, func(rows driver.Rows) (state audience.LeaseState, err error) {
		var idle int64
		err = rows.Scan(&state.Fence, &state.Holder, &idle, &state.Released)
		state.Idle = time.Duration(idle) * time.Millisecond
		return state, err
	})
	if err != nil {
		return state, fmt.Errorf("look at the lease of %s: %w", name, err)
	}
	return state, nil
}

// ClaimLease makes holder the successor of whoever has a name with the fence before (0: of nobody), unless somebody else
// is that already. It answers with who has the name then. Of all INSERTs with one deduplication token ClickHouse keeps the
// first and drops the others, so of several who claim at once exactly one succeeds.
func (s *Store) ClaimLease(ctx context.Context, name string, before uint64, holder string) (audience.LeaseState, error) {
	fence := max(s.versions.next(), before+fenceGap)
	claiming := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplicate": 1, "insert_deduplication_token": name + " after " + strconv.FormatUint(before, 10),
	}))
	if err := s.insert(claiming, "leases (name, fence, holder)", []string{name}, []uint64{fence}, []string{holder}); err != nil {
		return audience.LeaseState{}, fmt.Errorf("claim the lease of %s: %w", name, err)
	}
	return s.Lease(ctx, name)
}

// BeatLease is a sign of life of a holder, the last one when it releases the name.
func (s *Store) BeatLease(ctx context.Context, name string, fence uint64, released bool) error {
	if err := s.insert(ctx, "lease_beats (name, fence, released)", []string{name}, []uint64{fence}, []bool{released}); err != nil {
		return fmt.Errorf("keep the lease of %s: %w", name, err)
	}
	return nil
}
