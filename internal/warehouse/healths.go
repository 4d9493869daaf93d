package warehouse

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// PutHealth keeps how a destination is.
func (s *Store) PutHealth(ctx context.Context, id audience.DestinationID, health audience.Health) error {
	document, err := json.Marshal(health)
	if err == nil {
		err = s.insert(ctx, "destination_healths (destination, health, version)", []string{string(id)}, []string{string(document)}, []uint64{s.versions.next()})
	}
	if err != nil {
		return fmt.Errorf("keep how destinations/%s is: %w", id, err)
	}
	return nil
}

// Healths are how destinations were when that was last kept.
func (s *Store) Healths(ctx context.Context) (map[audience.DestinationID]audience.Health, error) {
	healths := map[audience.DestinationID]audience.Health{}
	rows := stream(ctx, s, audience.Query{SQL: "SELECT destination, health FROM destination_healths FINAL"},
		func(rows driver.Rows) (row [2]string, err error) { return row, rows.Scan(&row[0], &row[1]) })
	for row, err := range rows {
		var health audience.Health
		if err == nil {
			err = json.Unmarshal([]byte(row[1]), &health)
		}
		if err != nil {
			return nil, fmt.Errorf("read how destinations are: %w", err)
		}
		healths[audience.DestinationID(row[0])] = health
	}
	return healths, nil
}
