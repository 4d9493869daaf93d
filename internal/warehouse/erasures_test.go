package warehouse

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

// known stores rows of a user in every table that has rows of users.
func known(t *testing.T, s *Store, user audience.UserID, version uint64) {
	t.Helper()
	require.NoError(t, s.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: user, Identifiers: []audience.Identifier{email}}}))
	require.NoError(t, s.AppendChanges(t.Context(), []audience.Change{{Membership: audience.Membership{User: user, Version: version}, Left: []audience.Number{7}, Time: noon}}))
	_, err := s.WriteMove(t.Context(), audience.Move{User: user, OutOf: []audience.SegmentID{"vip"}}, map[audience.SegmentID]audience.Number{"vip": 7}, noon)
	require.NoError(t, err)
	tables, err := s.userTables(t.Context())
	require.NoError(t, err)
	for _, table := range tables {
		if !slices.Contains([]string{"erasures", "profiles", "moves", "membership_changes", "members"}, table) {
			require.NoError(t, s.insert(t.Context(), table+" (user_id)", []string{string(user)}), table)
		}
	}
}

// rowsOf counts a user's rows in each table with rows of users.
func rowsOf(t *testing.T, s *Store, user audience.UserID) map[string]uint64 {
	t.Helper()
	tables, err := s.userTables(t.Context())
	require.NoError(t, err)
	rows := map[string]uint64{}
	for _, table := range tables {
		n, _, err := first(t.Context(), s, audience.Query{SQL: "SELECT count() FROM " + table + " WHERE user_id = {user:String}", Params: map[string]any{"user": string(user)}}, scanUint64)
		require.NoError(t, err)
		rows[table] = n
	}
	return rows
}

// TestErasure: after it no table has a row of the user, whatever tables there are; everybody else's stay.
func TestErasure(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	known(t, s, "ann", 1)
	known(t, s, "bob", 2) // the log's newest row
	before := rowsOf(t, s, "ann")
	require.Greater(t, len(before), 10)
	for table, n := range before {
		require.Equal(t, table != "erasures", n > 0, table)
	}

	erasure, err := s.BeginErasure(ctx, "bob")
	require.NoError(t, err)
	require.Equal(t, []audience.Identifier{email}, erasure.Identifiers)
	again, err := s.BeginErasure(ctx, "bob")
	require.NoError(t, err)
	require.Equal(t, erasure.ID, again.ID)
	require.Equal(t, erasure.Identifiers, again.Identifiers)
	pending, err := s.PendingErasures(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.Equal(t, audience.UserID("bob"), pending[0].User)
	require.True(t, s.Erased("bob"))
	require.False(t, s.Erased("ann"))

	require.NoError(t, s.DeleteUser(ctx, "bob"))
	for table, n := range rowsOf(t, s, "bob") {
		require.Equal(t, slices.Contains(ledgerTables, table) || slices.Contains(membershipTables, table), n > 0, table)
	}
	require.NoError(t, s.DeleteMembership(ctx, "bob"))
	require.NoError(t, s.DeleteMembership(ctx, "bob"), "a repeat is harmless")
	require.NoError(t, s.DeleteLedger(ctx, "bob"))
	require.NoError(t, s.EndErasure(ctx, erasure))
	for table, n := range rowsOf(t, s, "bob") {
		require.Zero(t, n, table)
	}
	require.Equal(t, before, rowsOf(t, s, "ann"))
	require.NoError(t, s.Purge(ctx))
	hidden := audience.Query{SQL: "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete"}
	require.Eventually(t, func() bool {
		parts, _, err := first(ctx, s, hidden, scanUint64)
		require.NoError(t, err)
		return parts == 0
	}, time.Minute, 20*time.Millisecond, "what is deleted is on disk still")
	require.Equal(t, before, rowsOf(t, s, "ann"))
	last, err := s.LastVersion(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(2), last, "the log's version never falls")
	for member, err := range s.Members(ctx) {
		require.NoError(t, err)
		require.NotContains(t, string(member.User), gap)
	}
	everything, _, err := first(ctx, s, audience.Query{SQL: "SELECT toString(groupArray((user_id, identifiers, state))) FROM erasures"},
		func(rows driver.Rows) (text string, err error) { return text, rows.Scan(&text) })
	require.NoError(t, err)
	require.Equal(t, "[('',[],'done')]", everything)
}

// TestErasureKilledAtItsEnd: who was erased is not named by an order that is done, though its process died before it had
// forgotten the name.
func TestErasureKilledAtItsEnd(t *testing.T) {
	s, ctx := open(t), t.Context()
	_, err := s.BeginErasure(ctx, "ann")
	require.NoError(t, err)
	erasure, err := s.BeginErasure(ctx, "bob")
	require.NoError(t, err)
	require.NoError(t, s.writeErasure(ctx, s.tombstones.of("bob"), audience.Erasure{State: audience.ErasureDone, Time: erasure.Time}))
	pending, err := s.PendingErasures(ctx) // of the next process
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.Zero(t, rowsOf(t, s, "bob")["erasures"])
	require.EqualValues(t, 1, rowsOf(t, s, "ann")["erasures"])
}

// TestLateDeletionIsHarmless: a process pauses in an erasure, which another ends; the user is readmitted, and what is known of
// her then stays, whatever the paused one still deletes.
func TestLateDeletionIsHarmless(t *testing.T) {
	s, ctx := open(t), t.Context()
	erasure, err := s.BeginErasure(ctx, "bob")
	require.NoError(t, err)
	require.NoError(t, s.EndErasure(ctx, erasure))
	require.NoError(t, s.Readmit(ctx, "bob"))
	known(t, s, "bob", 1)
	before := rowsOf(t, s, "bob")
	require.NoError(t, s.DeleteUser(ctx, "bob"))
	require.NoError(t, s.DeleteMembership(ctx, "bob"))
	require.NoError(t, s.DeleteLedger(ctx, "bob"))
	require.Equal(t, before, rowsOf(t, s, "bob"))
}

// TestErasedStaysErased: nothing of an erased user is taken in, not by a later process either, until the id is readmitted.
func TestErasedStaysErased(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	s, err := Open(t.Context(), Config{DSN: dsn})
	require.NoError(t, err)
	ctx := t.Context()
	erasure, err := s.BeginErasure(ctx, "bob")
	require.NoError(t, err)
	require.ErrorIs(t, s.Readmit(ctx, "bob"), audience.ErrPrecondition)
	require.NoError(t, s.EndErasure(ctx, erasure))
	require.NoError(t, s.Close())

	s, err = Open(ctx, Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	write := func() []bool {
		duplicate, err := s.WriteEvents(ctx, []audience.Event{
			{User: "bob", ID: "1", Type: "purchase", Time: noon}, {User: "ann", ID: "1", Type: "purchase", Time: noon}})
		require.NoError(t, err)
		require.NoError(t, s.UpsertProfiles(ctx, []audience.ProfileUpdate{{User: "bob"}}))
		require.NoError(t, s.SetConsents(ctx, []audience.Consent{{User: "bob", Purpose: "advertising", Time: noon}}))
		return duplicate
	}
	move := func() error {
		_, err := s.WriteMove(ctx, audience.Move{User: "bob", Into: []audience.SegmentID{"vip"}}, map[audience.SegmentID]audience.Number{"vip": 7}, noon)
		return err
	}
	require.Equal(t, []bool{false, false}, write())
	require.ErrorIs(t, move(), audience.ErrInvalid)
	for table, n := range rowsOf(t, s, "bob") {
		require.Zero(t, n, table)
	}
	require.ErrorIs(t, s.Readmit(ctx, "ann"), audience.ErrNotFound)
	require.NoError(t, s.Readmit(ctx, "bob"))
	require.ErrorIs(t, s.Readmit(ctx, "bob"), audience.ErrNotFound)
	require.Equal(t, []bool{false, true}, write(), "a new person: her event is no repeat")
	require.NoError(t, move())
	require.Equal(t, "map[consents:1 events:1 events_by_user:1 moves:1 pins:1 profiles:1 users:1]", nonZero(rowsOf(t, s, "bob")))
}

func nonZero(rows map[string]uint64) string {
	for table, n := range rows {
		if n == 0 {
			delete(rows, table)
		} else {
			rows[table] = 1
		}
	}
	return strings.TrimSpace(fmt.Sprint(rows))
}
