package webhook_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/webhook"
)

// TestApart: every change is accepted or given up, in their order; of those refused each stands alone, as far as a bounded
// number of requests can tell.
func TestApart(t *testing.T) {
	holds := func(status int, bad ...uint64) func([]audience.DeadLetter) int {
		return func(letters []audience.DeadLetter) int {
			if slices.ContainsFunc(letters, func(l audience.DeadLetter) bool { return slices.Contains(bad, l.Version) }) {
				return status
			}
			return http.StatusOK
		}
	}
	longerThan := func(most int) func([]audience.DeadLetter) int {
		return func(letters []audience.DeadLetter) int {
			if len(letters) > most {
				return http.StatusRequestEntityTooLarge
			}
			return http.StatusOK
		}
	}
	for name, c := range map[string]struct {
		changes  int
		answer   func([]audience.DeadLetter) int
		givenUp  []int // changes of each request that stays refused
		requests int   // at most
	}{
		"all is well":                    {100, holds(422), nil, 1},
		"one alone":                      {1, holds(422, 1), []int{1}, 1},
		"one of two":                     {2, holds(400, 1), []int{1}, 3},
		"the last of three":              {3, holds(409, 3), []int{1}, 5},
		"one of a thousand":              {1000, holds(422, 700), []int{1}, 21},
		"two of a hundred":               {100, holds(422, 1, 100), []int{1, 1}, 29},
		"too long for more than one":     {100, longerThan(1), nil, 199},
		"too long for more than thirty":  {100, longerThan(30), nil, 7},
		"one is too long by itself":      {8, holds(413, 5), []int{1}, 7},
		"everything":                     {1000, func([]audience.DeadLetter) int { return 422 }, nil, 65},
		"a fault is no reason to halve":  {100, holds(500, 7), []int{100}, 1},
		"nobody there is none, neither":  {100, holds(404, 7), []int{100}, 1},
		"too busy is none, and is later": {100, holds(429, 7), []int{100}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var all, seen []audience.DeadLetter
			for i := range c.changes {
				all = append(all, audience.DeadLetter{Version: uint64(i + 1)})
			}
			requests := 0
			var accepted []audience.DeadLetter
			givenUp := webhook.Apart(all, func(letters []audience.DeadLetter) int {
				requests++
				status := c.answer(letters)
				if status == http.StatusOK {
					accepted = append(accepted, letters...)
				}
				return status
			})
			byVersion := func(a, b audience.DeadLetter) int { return int(a.Version) - int(b.Version) }
			require.True(t, slices.IsSortedFunc(accepted, byVersion), "in their order")
			seen = append(slices.Concat(givenUp...), accepted...)
			slices.SortFunc(seen, byVersion)
			require.Equal(t, all, seen, "each once")
			require.LessOrEqual(t, requests, c.requests)
			if name == "everything" {
				return
			}
			var sizes []int
			for _, letters := range givenUp {
				sizes = append(sizes, len(letters))
			}
			require.Equal(t, c.givenUp, sizes)
		})
	}
}
