package meta

import (
	"fmt"
	"time"
)

// newest is the version this client was made for.
const newest = "v26.0"

// ends are the days from which on the Marketing API does not answer under a version any more (1.1). Of v25.0 and v26.0 none is known.
var ends = map[string]time.Time{
	"v20.0": day(2025, time.May, 6),
	"v21.0": day(2025, time.September, 9),
	"v22.0": day(2026, time.February, 19),
	"v23.0": day(2026, time.June, 9),
	"v24.0": day(2026, time.October, 6),
}

// ahead is how long before its end a version is warned of.
const ahead = 90 * 24 * time.Hour

func day(year int, month time.Month, d int) time.Time {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

// Warnings tell of the end of the version asked for: as the sheet has it, and as the API's answers say.
func (c *Client) Warnings() (warnings []string) {
	const remedy = "set api_version to " + newest + ", or leave it out"
	end, known := ends[c.version]
	switch left := end.Sub(c.now()); {
	case known && left <= 0:
		warnings = append(warnings, fmt.Sprintf("Meta ended version %s on %s; %s", c.version, end.Format(time.DateOnly), remedy))
	case known && left < ahead:
		warnings = append(warnings, fmt.Sprintf("Meta ends version %s on %s; %s", c.version, end.Format(time.DateOnly), remedy))
	}
	c.mu.Lock()
	warned := c.warned
	c.mu.Unlock()
	if warned != "" {
		warnings = append(warnings, fmt.Sprintf("Meta answers under version %s where %s is asked for, or says that it ends soon; %s", warned, c.version, remedy))
	}
	return warnings
}
