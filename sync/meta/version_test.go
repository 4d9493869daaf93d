package meta

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVersionsEnd: the day is told in time, after it, too, and whatever the API's answers say.
func TestVersionsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		now     time.Time
		header  http.Header
		want    []string
	}{
		"the newest":          {"", day(2027, 1, 1), nil, nil},
		"long before its end": {"v24.0", day(2026, time.June, 1), nil, nil},
		"before its end":      {"v24.0", day(2026, time.September, 1), nil, []string{"Meta ends version v24.0 on 2026-10-06; set api_version to v26.0, or leave it out"}},
		"after its end":       {"v24.0", day(2026, time.October, 6), nil, []string{"Meta ended version v24.0 on 2026-10-06; set api_version to v26.0, or leave it out"}},
		"moved up": {"v25.0", day(2026, 9, 1), http.Header{"Facebook-Api-Version": {"v26.0"}},
			[]string{"Meta answers under version v26.0 where v25.0 is asked for, or says that it ends soon; set api_version to v26.0, or leave it out"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(Config{Account: "1", TokenFile: "t", Version: test.version, Now: func() time.Time { return test.now }}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			c.watchVersion(test.header)
			require.Equal(t, test.want, c.Warnings())
		})
	}
}
