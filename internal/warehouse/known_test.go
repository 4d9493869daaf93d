package warehouse

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// TestUsersAreWrittenDownOnce: a second event of a user costs no row among the users, in a later process either; one who
// was erased and comes again does.
func TestUsersAreWrittenDownOnce(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	s := reopen(t, dsn)
	events := 0
	rows := func(s *Store) uint64 {
		events++
		_, err := s.WriteEvents(t.Context(), []audience.Event{{User: "ann", ID: fmt.Sprint(events), Type: "visit", Time: midday}})
		require.NoError(t, err)
		require.NoError(t, s.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: "ann"}}))
		return rowsOf(t, s, "ann")["users"]
	}
	inserts := func() uint64 { // blocks are numbered by INSERT
		n, _, err := first(t.Context(), s, audience.Query{SQL: `SELECT toUInt64(max(max_block_number)) FROM system.parts
			WHERE database = currentDatabase() AND table = 'users' AND active`}, scanUint64)
		require.NoError(t, err)
		return n
	}
	require.EqualValues(t, 1, rows(s))
	before := inserts()
	require.EqualValues(t, 1, rows(s))
	require.Equal(t, before, inserts())
	require.NoError(t, s.Close())
	s = reopen(t, dsn)
	require.EqualValues(t, 1, rows(s))
	require.Equal(t, before, inserts())

	erasure, err := s.BeginErasure(t.Context(), "ann")
	require.NoError(t, err)
	require.NoError(t, s.DeleteUser(t.Context(), "ann"))
	require.NoError(t, s.EndErasure(t.Context(), erasure))
	require.Zero(t, rowsOf(t, s, "ann")["users"])
	require.NoError(t, s.Readmit(t.Context(), "ann"))
	require.EqualValues(t, 1, rows(s))
}

// TestKnownUsersAreNeverMadeUp: whatever is forgotten, nobody is taken for known who was not added since she was forgotten.
func TestKnownUsersAreNeverMadeUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := knownUsers{room: 3}
		added := map[string]bool{}
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"}), 1, 3)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			users := names.Draw(t, "users")
			if rapid.IntRange(0, 4).Draw(t, "forget") == 0 {
				k.forget(audience.UserID(users[0]))
				added[users[0]] = false
				continue
			}
			unknown := k.unknown(users)
			for _, user := range users {
				if !slices.Contains(unknown, user) {
					require.True(t, added[user], user)
				}
				added[user] = true
			}
			k.add(unknown)
			require.Empty(t, k.unknown(users[len(users)-1:]), "who was here last")
			require.LessOrEqual(t, len(k.newer)+len(k.older), 6)
		}
	})
}
