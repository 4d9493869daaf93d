package warehouse

import (
	"context"
	"iter"
	"math"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// A list of members is read by pages, the next one while one is used: the first is small so that it comes soon, the others
// are large enough that what a query costs by itself does not matter. Each comes as one text, an id a line (an id has no
// control character), because the driver takes several times as long for a row as the engine.
const (
	firstMembers = 10_000
	mostMembers  = 250_000
)

// membersPage are some members of a segment, by UserID.
type membersPage struct {
	ids   string // an id a line
	users int
	err   error
}

// last is the id that the next page comes after.
func (p membersPage) last() audience.UserID {
	return audience.UserID(p.ids[strings.LastIndexByte(p.ids, '\n')+1:])
}

// MembersOf yields up to limit members (0: all) of a segment whose id is after the given one, by UserID. An id shares its
// memory with its page: whoever keeps a few of many clones them.
func (s *Store) MembersOf(ctx context.Context, segment audience.Number, after audience.UserID, limit int) iter.Seq2[audience.UserID, error] {
	if limit == 0 {
		limit = math.MaxInt
	}
	return func(yield func(audience.UserID, error) bool) {
		left, size := limit, min(firstMembers, limit)
		coming := s.membersPage(ctx, segment, after, size)
		for {
			page := <-coming
			if page.err != nil {
				yield("", page.err)
				return
			}
			left -= page.users
			more := page.users == size && left > 0
			if more {
				size = min(mostMembers, left)
				coming = s.membersPage(ctx, segment, page.last(), size)
			}
			if !page.each(yield) {
				if more {
					<-coming // to its end: breaking off costs the connection
				}
				return
			}
			if !more {
				return
			}
		}
	}
}

// each yields the page's members, and reports whether all were wanted.
func (p membersPage) each(yield func(audience.UserID, error) bool) bool {
	if p.users == 0 {
		return true
	}
	for id := range strings.SplitSeq(p.ids, "\n") {
		if !yield(audience.UserID(id), nil) {
			return false
		}
	}
	return true
}

// membersPage begins to read a page.
func (s *Store) membersPage(ctx context.Context, segment audience.Number, after audience.UserID, size int) <-chan membersPage {
	read := make(chan membersPage, 1)
	go func() {
		page, _, err := first(ctx, s, audience.Query{
			SQL: `SELECT toUInt64(count()), arrayStringConcat(arraySort(groupArray(user_id)), '\n') FROM (
				SELECT user_id FROM members FINAL
				WHERE user_id > {after:String} AND has(segments, {segment:UInt32}) ORDER BY user_id` + limited(size) + ")",
			Params: map[string]any{"after": string(after), "segment": uint32(segment)},
		}, func(rows driver.Rows) (page membersPage, err error) {
			var users uint64
			err = rows.Scan(&users, &page.ids)
			page.users = int(users)
			return page, err
		})
		page.err = err
		read <- page
	}()
	return read
}
