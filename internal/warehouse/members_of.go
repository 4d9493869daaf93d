package warehouse

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// A list of members is read by ranges of users, some ahead of the one that is used: the first are small so that they come
// soon, the others large enough that what a query costs by itself does not matter. Each is read by one thread, in the order
// of the parts, so that nothing is sorted again, and comes as one text, an id a line (an id has no control character),
// because the driver takes several times as long for a row as the engine.
//
// Where ranges end is read from the primary index, which has every 256th user: a range with a LIMIT would do without, but
// FINAL then reads on to the end of the table, every time.
const (
	eachRange   = 1000 // entries of the index
	rangesAhead = 2
)

var firstRanges = []uint64{40, 160, 480} // entries that end ranges before the first of those

// MembersOf yields up to limit members (0: all) of a segment whose id is after the given one, by UserID. An id shares its
// memory with some hundred thousand others: whoever keeps a few clones them.
func (s *Store) MembersOf(ctx context.Context, segment audience.Number, after audience.UserID, limit int) iter.Seq2[audience.UserID, error] {
	if limit == 0 {
		limit = math.MaxInt
	}
	return func(yield func(audience.UserID, error) bool) {
		ends, err := s.rangeEnds(ctx, after)
		if err != nil {
			yield("", err)
			return
		}
		bounds := slices.Concat([]string{string(after)}, ends, []string{""})
		var coming []<-chan membersRange
		defer func() {
			for _, members := range coming {
				<-members // to its end: breaking off costs the connection
			}
		}()
		for used := range len(bounds) - 1 {
			for next := used + len(coming); next < len(bounds)-1 && len(coming) <= rangesAhead; next++ {
				coming = append(coming, s.membersBetween(ctx, segment, bounds[next], bounds[next+1]))
			}
			members := <-coming[0]
			coming = coming[1:]
			if !members.each(&limit, yield) {
				return
			}
		}
	}
}

// rangeEnds are users, ascending, at which to end ranges of those after the given one.
func (s *Store) rangeEnds(ctx context.Context, after audience.UserID) ([]string, error) {
	return all(stream(ctx, s, audience.Query{
		SQL: `SELECT user_id FROM (
			SELECT user_id, row_number() OVER (ORDER BY user_id) AS entry FROM mergeTreeIndex(currentDatabase(), 'members') WHERE user_id > {after:String}
		) WHERE entry IN {first:Array(UInt64)} OR entry % {each:UInt64} = 0 ORDER BY user_id`,
		Params: map[string]any{"after": string(after), "first": firstRanges, "each": uint64(eachRange)},
	}, func(rows driver.Rows) (end string, err error) { return end, rows.Scan(&end) }))
}

// membersRange holds members of a segment, by UserID, or why there are none.
type membersRange struct {
	ids string // one a line
	err error
}

// each yields members as long as they are wanted, and reports whether more are.
func (m membersRange) each(limit *int, yield func(audience.UserID, error) bool) bool {
	if m.err != nil {
		yield("", m.err)
		return false
	}
	for ids := m.ids; ids != ""; {
		var id string
		id, ids, _ = strings.Cut(ids, "\n")
		*limit--
		if !yield(audience.UserID(id), nil) || *limit == 0 {
			return false
		}
	}
	return true
}

// membersBetween begins to read the members after a user and up to another ("": without end).
func (s *Store) membersBetween(ctx context.Context, segment audience.Number, after, end string) <-chan membersRange {
	q := audience.Query{Params: map[string]any{"segment": uint32(segment), "after": after}}
	upTo := ""
	if end != "" {
		upTo, q.Params["end"] = "AND user_id <= {end:String}", end
	}
	q.SQL = `SELECT arrayStringConcat(groupArray(user_id), '\n') FROM (
		SELECT user_id FROM members FINAL WHERE has(segments, {segment:UInt32}) AND user_id > {after:String} ` + upTo + ` ORDER BY user_id
	) SETTINGS max_threads = 1`
	read := make(chan membersRange, 1)
	go func() {
		ids, _, err := first(ctx, s, q, func(rows driver.Rows) (ids string, err error) { return ids, rows.Scan(&ids) })
		read <- membersRange{ids, err}
	}()
	return read
}
