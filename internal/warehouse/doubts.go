package warehouse

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// RecordDoubts keeps, beside the ledger of an audience, whom a request concerned, and by which identifiers, whose lease
// ended while it was under way.
func (s *Store) RecordDoubts(ctx context.Context, ledger audience.Number, doubts []audience.Delivery) error {
	if len(doubts) == 0 {
		return nil
	}
	n := len(doubts)
	var (
		audiences   = make([]uint32, n)
		users       = make([]string, n)
		versions    = make([]uint64, n)
		identifiers = make([][]identifierRow, n)
		runs        = make([]string, n)
		times       = make([]int64, n)
	)
	version := s.versions.next() // one a call: a later doubt about a user does not hide this one
	for i, d := range doubts {
		audiences[i], users[i], versions[i] = uint32(ledger), string(d.User), version
		identifiers[i], runs[i], times[i] = identifierRows(inOrder(d.Identifiers)), string(d.Run), millis(d.Time)
	}
	if err := s.insert(ctx, "doubts (audience, user_id, version, identifiers, run, time)", audiences, users, versions, identifiers, runs, times); err != nil {
		return fmt.Errorf("record %d doubts: %w", n, err)
	}
	return nil
}

// DoubtIntents keeps a doubt about everybody whose intent below a version (0: of all until now) is not confirmed: a request of
// whoever wrote it may still be under way. They are settled when a span is over.
func (s *Store) DoubtIntents(ctx context.Context, ledger audience.Number, below uint64, span time.Duration) error {
	err := s.Exec(ctx, audience.Query{
		SQL: `INSERT INTO doubts (audience, user_id, version, identifiers, run, time, due, state)
			SELECT audience, user_id, {below:UInt64}, identifiers, run, time, now() + toIntervalSecond({span:UInt32}), state FROM deliveries FINAL
			WHERE audience = {audience:UInt32} AND state IN ('sending', 'removing') AND version < {below:UInt64}`,
		Params: map[string]any{"audience": uint32(ledger), "below": cmp.Or(below, s.versions.next()), "span": uint32(span.Seconds())},
	})
	if err != nil {
		return fmt.Errorf("doubt the intents of an earlier holder: %w", err)
	}
	return nil
}

// MayBeAddedLate reports whether an earlier holder's request to add a user may still be under way.
func (s *Store) MayBeAddedLate(ctx context.Context, ledger audience.Number, user audience.UserID) (bool, error) {
	open, _, err := first(ctx, s, audience.Query{
		SQL:    "SELECT count() FROM doubts FINAL WHERE audience = {audience:UInt32} AND user_id = {user:String} AND NOT settled AND state = 'sending'",
		Params: map[string]any{"audience": uint32(ledger), "user": string(user)},
	}, scanUint64)
	if err != nil {
		return false, fmt.Errorf("look for requests that may come late: %w", err)
	}
	return open > 0, nil
}

// Settling, in statements that can be repeated until the last one has run: each doubt becomes a row of the ledger that says
// `sending`, by all that was sent and all that the ledger knew; members who share one of these identifiers with somebody
// else follow, for what was under way may have been a removal.
const (
	openDoubts = `SELECT user_id, identifiers, run, time, version FROM doubts FINAL WHERE audience = {audience:UInt32} AND NOT settled AND has({versions:Array(UInt64)}, version)`

	doubtsToLedger = `INSERT INTO deliveries (audience, user_id, state, identifiers, value, reason, run, time, version)
		SELECT {audience:UInt32}, user_id, 'sending', arraySort(groupUniqArrayArray(identifiers)), max(value),
			'a request was under way when its lease ended', argMax(run, time), max(time), {version:UInt64}
		FROM
		(
			SELECT user_id, identifiers, 0 AS value, run, time FROM (` + openDoubts + `)
			UNION ALL
			SELECT user_id, identifiers, value, run, time FROM deliveries FINAL
			WHERE audience = {audience:UInt32} AND ` + mayHold + ` AND user_id IN (SELECT user_id FROM (` + openDoubts + `))
		)
		GROUP BY user_id`

	doubtsToSharers = `INSERT INTO deliveries (audience, user_id, state, identifiers, value, reason, run, time, version)
		SELECT audience, user_id, 'sending', identifiers, value, {sharing:String}, run, time, {version:UInt64}
		FROM deliveries FINAL
		WHERE audience = {audience:UInt32} AND state = 'delivered' AND hasAny(identifiers.value,
			(SELECT groupUniqArrayArray(identifiers.value) FROM (` + openDoubts + `)))`

	doubtsSettled = `INSERT INTO doubts (audience, user_id, version, identifiers, run, time, settled)
		SELECT {audience:UInt32}, user_id, version, identifiers, run, time, true FROM (` + openDoubts + `)`
)

// SettleDoubts brings the doubts about the users of an audience that are due into its ledger, at a version of its holder (0:
// the next of this process). It costs one look when there are none.
func (s *Store) SettleDoubts(ctx context.Context, ledger audience.Number, version uint64) error {
	versions, _, err := first(ctx, s, audience.Query{
		SQL:    "SELECT groupUniqArray(version) FROM doubts FINAL WHERE audience = {audience:UInt32} AND NOT settled AND due <= now()",
		Params: map[string]any{"audience": uint32(ledger)},
	}, func(rows driver.Rows) (versions []uint64, err error) { return versions, rows.Scan(&versions) })
	if err != nil || len(versions) == 0 {
		return err
	}
	params := map[string]any{"audience": uint32(ledger), "version": cmp.Or(version, s.versions.next()), "versions": versions, "sharing": sharing}
	for _, statement := range []string{doubtsToLedger, doubtsToSharers, doubtsSettled} {
		if err := s.Exec(ctx, audience.Query{SQL: statement, Params: params}); err != nil {
			return fmt.Errorf("settle doubts: %w", err)
		}
	}
	s.log.Info("ledger takes in what requests of an earlier holder may have done", "audience", ledger, "requests", len(versions))
	return nil
}

// sharing is the ledger's reason of a member who has to be sent again because of another's removal.
const sharing = "shares an identifier with a removed user"

// DoubtfulAudiences are those with doubts that are due and not settled.
func (s *Store) DoubtfulAudiences(ctx context.Context) (map[audience.Number]bool, error) {
	return s.audiencesWhere(ctx, "doubts FINAL WHERE NOT settled AND due <= now()", nil)
}

// WaitingPlans are the audiences with a held plan that waits for a person at a time.
func (s *Store) WaitingPlans(ctx context.Context, at time.Time) (map[audience.Number]bool, error) {
	return s.audiencesWhere(ctx, "held_plans FINAL WHERE state = {waiting:String} AND expires > {at:DateTime64(3)}",
		map[string]any{"waiting": string(audience.HeldWaiting), "at": at.UTC()})
}

func (s *Store) audiencesWhere(ctx context.Context, rows string, params map[string]any) (map[audience.Number]bool, error) {
	audiences := map[audience.Number]bool{}
	err := s.Select(ctx, audience.Query{SQL: "SELECT DISTINCT audience FROM " + rows, Params: params}, func(scan func(...any) error) error {
		var number uint32
		err := scan(&number)
		audiences[audience.Number(number)] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find audiences: %w", err)
	}
	return audiences, nil
}
