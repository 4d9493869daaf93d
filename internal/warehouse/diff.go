package warehouse

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed queries/diff.sql
var diffSQL string

// diffChunk is how many users a restricted diff looks up in members at once.
const diffChunk = 10_000

// Diff compares the membership q computes (rows of user_id String, segments Array(UInt32), ascending; each user once)
// with the one on record and yields the users where they differ, by UserID, without version, time and cause. With
// everybody, users on record whom q does not name hold no segment; without, only the users q names are compared, and
// only their members are read.
func (s *Store) Diff(ctx context.Context, q audience.Query, everybody bool) iter.Seq2[audience.Change, error] {
	if !everybody {
		return s.diffNamed(ctx, q)
	}
	return stream(ctx, s, audience.Query{SQL: strings.Replace(diffSQL, "{query}", q.SQL, 1), Params: q.Params},
		func(rows driver.Rows) (audience.Change, error) {
			var user string
			var computed, recorded []uint32
			err := rows.Scan(&user, &computed, &recorded)
			return audience.ChangeOf(audience.UserID(user), numbers(recorded), numbers(computed)), err
		})
}

// diffNamed looks the users q names up in members, by primary key, some at a time.
func (s *Store) diffNamed(ctx context.Context, q audience.Query) iter.Seq2[audience.Change, error] {
	computed := stream(ctx, s, audience.Query{
		SQL:    "SELECT user_id, segments FROM (" + q.SQL + ") ORDER BY user_id",
		Params: q.Params,
	}, func(rows driver.Rows) (change audience.Change, err error) {
		var user string
		var segments []uint32
		err = rows.Scan(&user, &segments)
		return audience.ChangeOf(audience.UserID(user), nil, numbers(segments)), err
	})
	return func(yield func(audience.Change, error) bool) {
		for chunk, err := range chunks(computed, diffChunk) {
			if err == nil {
				err = s.compare(ctx, chunk)
			}
			if err != nil {
				yield(audience.Change{}, err)
				return
			}
			for _, change := range chunk {
				if len(change.Entered)+len(change.Left) > 0 && !yield(change, nil) {
					return
				}
			}
		}
	}
}

// compare completes changes, which are by UserID and start from nothing, to start from the membership on record.
func (s *Store) compare(ctx context.Context, changes []audience.Change) error {
	users := make([]audience.UserID, len(changes))
	for i, change := range changes {
		users[i] = change.User
	}
	asking, err := withUsers(ctx, users)
	if err != nil {
		return fmt.Errorf("name %d users: %w", len(users), err)
	}
	recorded := stream(asking, s, audience.Query{SQL: selectMembers + "WHERE user_id IN (SELECT user_id FROM asked)"}, scanMembership)
	for membership, err := range recorded {
		if err != nil {
			return err
		}
		i, _ := slices.BinarySearchFunc(changes, membership.User, func(c audience.Change, user audience.UserID) int {
			return cmp.Compare(c.User, user)
		})
		changes[i] = audience.ChangeOf(membership.User, membership.Segments, changes[i].Segments)
	}
	return nil
}

// chunks yields what rows yields in lists of up to size.
func chunks[T any](rows iter.Seq2[T, error], size int) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var chunk []T
		for row, err := range rows {
			if err != nil {
				yield(nil, err)
				return
			}
			if chunk = append(chunk, row); len(chunk) == size {
				if !yield(chunk, nil) {
					return
				}
				chunk = nil
			}
		}
		if len(chunk) > 0 {
			yield(chunk, nil)
		}
	}
}
