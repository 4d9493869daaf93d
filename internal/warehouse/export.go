package warehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// exported are the tables with rows of users that Stored reads as nouns, or that hold nothing beside another table.
var exported = []string{
	"profiles", "consents", "events", "members", "membership_changes", "moves", "deliveries", "stops",
	"events_by_user", // events
	"users",          // ids alone
	"pins",           // moves
	"timers",         // when to look at a user again
	"erasures",       // that she will be forgotten
}

// Stored yields all that is stored of a user, table by table.
func (s *Store) Stored(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return func(yield func(audience.Stored, error) bool) {
		for _, part := range []iter.Seq2[audience.Stored, error]{
			s.storedProfile(ctx, user), s.storedConsents(ctx, user), s.storedEvents(ctx, user), s.storedMembership(ctx, user),
			s.storedMoves(ctx, user), s.storedDeliveries(ctx, user), s.storedStops(ctx, user), s.storedRows(ctx, user),
		} {
			for stored, err := range part {
				if !yield(stored, err) || err != nil {
					return
				}
			}
		}
	}
}

// wrapped yields what is read as one kind of what is stored.
func wrapped[T any](rows iter.Seq2[T, error], wrap func(*T) audience.Stored) iter.Seq2[audience.Stored, error] {
	return func(yield func(audience.Stored, error) bool) {
		for row, err := range rows {
			if !yield(wrap(&row), err) || err != nil {
				return
			}
		}
	}
}

// listed yields a list that is read when it is asked for.
func listed[T any](read func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		rows, err := read()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (s *Store) storedProfile(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return wrapped(listed(func() ([]audience.Profile, error) {
		profile, err := s.GetProfile(ctx, user)
		if errors.Is(err, audience.ErrNotFound) {
			return nil, nil
		}
		return []audience.Profile{profile}, err
	}), func(p *audience.Profile) audience.Stored { return audience.Stored{Profile: p} })
}

func (s *Store) storedConsents(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return wrapped(listed(func() ([]audience.Consent, error) { return s.Consents(ctx, user) }),
		func(c *audience.Consent) audience.Stored { return audience.Stored{Consent: c} })
}

func (s *Store) storedEvents(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return wrapped(s.eventsOf(ctx, user, 0), func(e *audience.Event) audience.Stored { return audience.Stored{Event: e} })
}

func (s *Store) storedMembership(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	now := listed(func() ([]audience.Membership, error) {
		m, err := s.MembershipOf(ctx, user)
		if err != nil || m.Version == 0 {
			return nil, err
		}
		return []audience.Membership{m}, nil
	})
	return func(yield func(audience.Stored, error) bool) {
		for _, part := range []iter.Seq2[audience.Stored, error]{
			wrapped(now, func(m *audience.Membership) audience.Stored { return audience.Stored{Membership: m} }),
			wrapped(s.ChangesOf(ctx, user), func(c *audience.Change) audience.Stored { return audience.Stored{Change: c} }),
		} {
			for stored, err := range part {
				if !yield(stored, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s *Store) storedMoves(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return stream(ctx, s, audience.Query{
		SQL:    "SELECT move, time FROM moves FINAL WHERE user_id = {user:String} ORDER BY version",
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Stored, error) {
		var move audience.StoredMove
		var document string
		if err := rows.Scan(&document, &move.Time); err != nil {
			return audience.Stored{}, err
		}
		move.Time = move.Time.UTC()
		return audience.Stored{Move: &move}, json.Unmarshal([]byte(document), &move.Move)
	})
}

func (s *Store) storedDeliveries(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return stream(ctx, s, audience.Query{
		SQL: `SELECT audience, state, identifiers, value, reason, run, time FROM deliveries FINAL
			WHERE user_id = {user:String} ORDER BY audience`,
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Stored, error) {
		delivery := audience.StoredDelivery{Delivery: audience.Delivery{User: user}}
		var number uint32
		var state, run string
		var identifiers []identifierRow
		err := rows.Scan(&number, &state, &identifiers, &delivery.Value, &delivery.Reason, &run, &delivery.Time)
		delivery.Audience, delivery.State, delivery.Run = audience.Number(number), audience.DeliveryState(state), audience.RunID(run)
		delivery.Identifiers, delivery.Time = identifiersOf(identifiers), orZero(delivery.Time)
		return audience.Stored{Delivery: &delivery}, err
	})
}

func (s *Store) storedStops(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return stream(ctx, s, audience.Query{
		SQL:    "SELECT audience, reason, until, time FROM stops FINAL WHERE user_id = {user:String} ORDER BY audience",
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Stored, error) {
		stop := audience.Stop{User: user}
		var number uint32
		err := rows.Scan(&number, &stop.Reason, &stop.Until, &stop.Time)
		stop.Audience, stop.Until, stop.Time = audience.Number(number), orZero(stop.Until), orZero(stop.Time)
		return audience.Stored{Stop: &stop}, err
	})
}

// storedRows yields the rows of the tables that are none of the above.
func (s *Store) storedRows(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error] {
	return func(yield func(audience.Stored, error) bool) {
		tables, err := s.userTables(ctx)
		if err != nil {
			yield(audience.Stored{}, err)
			return
		}
		for _, table := range tables {
			if slices.Contains(exported, table) {
				continue
			}
			for stored, err := range s.storedRowsOf(ctx, user, table) {
				if !yield(stored, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s *Store) storedRowsOf(ctx context.Context, user audience.UserID, table string) iter.Seq2[audience.Stored, error] {
	columns, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
		Params: map[string]any{"table": table},
	}, func(rows driver.Rows) (name string, err error) { return name, rows.Scan(&name) }))
	if err != nil {
		return failed[audience.Stored](fmt.Errorf("list the columns of %s: %w", table, err))
	}
	pairs := make([]string, len(columns))
	for i, column := range columns {
		pairs[i] = fmt.Sprintf("'%s', toString(%s)", column, column)
	}
	return stream(ctx, s, audience.Query{
		SQL:    "SELECT map(" + strings.Join(pairs, ", ") + ") FROM " + table + " WHERE user_id = {user:String}",
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Stored, error) {
		row := audience.StoredRow{Table: table}
		return audience.Stored{Other: &row}, rows.Scan(&row.Columns)
	})
}
