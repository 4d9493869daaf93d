package warehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Every table with a column user_id holds rows of users, and nothing else does: that is how erasure finds all there is, in
// tables that are yet to come, too.

// What is deleted at its own time.
var (
	// the log of membership and what is made of it, after the log says that the user has left and the projection knows
	membershipTables = []string{"membership_changes", "members"}
	// whom platforms may hold, until they say that they do not; that she must be removed, as long; and the order itself
	ledgerTables = []string{"deliveries", "doubts", "stops", "erasures"}
)

// gap stands in the log for versions whose last row was an erased user's: the log's newest version never falls, or what
// follows would be taken for old. It is no valid id.
const gap = "\x00"

// DeleteUser deletes what is stored of a user but membership and ledger.
func (s *Store) DeleteUser(ctx context.Context, user audience.UserID) error {
	tables, err := s.userTables(ctx)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if slices.Contains(membershipTables, table) || slices.Contains(ledgerTables, table) {
			continue
		}
		if err := s.deleteFrom(ctx, table, user); err != nil {
			return err
		}
	}
	s.known.forget(user)
	return nil
}

// DeleteMembership deletes a user's membership, now and past. The log must say already that she is in no segment.
func (s *Store) DeleteMembership(ctx context.Context, user audience.UserID) error {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	if err := s.completeMembers(ctx); err != nil {
		return err
	}
	if err := s.Exec(ctx, audience.Query{
		SQL: `INSERT INTO membership_changes (version, user_id, segments, entered, left, time, cause)
			SELECT max(version), {gap:String}, [], [], [], max(time), 'erasure' FROM membership_changes
			WHERE user_id = {user:String} GROUP BY user_id`,
		Params: map[string]any{"gap": gap, "user": string(user)},
	}); err != nil {
		return fmt.Errorf("keep the version of an erased user's last change: %w", err)
	}
	for _, table := range membershipTables {
		if err := s.deleteFrom(ctx, table, user); err != nil {
			return err
		}
	}
	return nil
}

// DeleteLedger deletes what is known of a user's deliveries and stops. No platform may hold her any more.
func (s *Store) DeleteLedger(ctx context.Context, user audience.UserID) error {
	for _, table := range []string{"deliveries", "doubts", "stops"} {
		if err := s.deleteFrom(ctx, table, user); err != nil {
			return err
		}
	}
	return nil
}

// userTables are the tables with rows of users.
func (s *Store) userTables(ctx context.Context) ([]string, error) {
	tables, err := all(stream(ctx, s, audience.Query{
		SQL: `SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'user_id'
			AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree') ORDER BY table`,
	}, func(rows driver.Rows) (name string, err error) { return name, rows.Scan(&name) }))
	if err != nil {
		return nil, fmt.Errorf("list the tables with rows of users: %w", err)
	}
	return tables, nil
}

// ofPendingErasure spares who was erased, readmitted and is known again, should a statement of a process that was paused
// arrive that late.
const ofPendingErasure = " AND user_id IN (SELECT user_id FROM erasures FINAL WHERE state = 'pending')"

// deleteFrom deletes the rows of one table of a user who is being erased. Looking first spares a mutation where there are
// none.
func (s *Store) deleteFrom(ctx context.Context, table string, user audience.UserID) error {
	params := map[string]any{"user": string(user)}
	rows, _, err := first(ctx, s, audience.Query{SQL: "SELECT count() FROM " + table + " WHERE user_id = {user:String}", Params: params}, scanUint64)
	if err == nil && rows > 0 {
		err = s.Exec(ctx, audience.Query{SQL: "DELETE FROM " + table + " WHERE user_id = {user:String}" + ofPendingErasure, Params: params})
	}
	if err != nil {
		return fmt.Errorf("delete an erased user from %s: %w", table, err)
	}
	return nil
}

// Purge has ClickHouse write anew, in its own time, what holds rows that were deleted from tables of users: until then, or until a
// merge, they are hidden, but on disk.
func (s *Store) Purge(ctx context.Context) error {
	tables, err := s.userTables(ctx)
	if err != nil {
		return err
	}
	for _, table := range tables {
		parts, _, err := first(ctx, s, audience.Query{
			SQL:    "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND active AND has_lightweight_delete",
			Params: map[string]any{"table": table},
		}, scanUint64)
		if err == nil && parts > 0 {
			err = s.Exec(ctx, audience.Query{SQL: "ALTER TABLE " + table + " APPLY DELETED MASK SETTINGS mutations_sync = 0"})
		}
		if err != nil {
			return fmt.Errorf("purge %s: %w", table, err)
		}
	}
	return nil
}
