package segmenter

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// Compare says what another definition of a segment, or a new segment, would change: who would enter and leave it and the
// segments that depend on it. It evaluates everybody, compares with the membership on record, and changes nothing. What is wrong
// with the expression is an InvalidError of the field "expression".
func (s *Segmenter) Compare(ctx context.Context, segment audience.Segment, sample int) (audience.Comparison, error) {
	if segment.Disabled = false; segment.Number == 0 {
		segment.Number = math.MaxUint32 // a new one comes last in its group, and has no pins
	}
	segments, err := s.segmentsWith(ctx, segment)
	if err != nil {
		return audience.Comparison{}, err
	}
	edition, err := s.Edition(ctx)
	if err != nil {
		return audience.Comparison{}, err
	}
	scores, err := s.scores(ctx)
	if err != nil {
		return audience.Comparison{}, err
	}
	wanted := enabled(segments)
	if _, err := expr.Compile(sources(wanted), scores); err != nil {
		return audience.Comparison{}, ofAuthor(segment.ID, err)
	}
	changes := map[audience.SegmentID]bool{segment.ID: true}
	if err := spread(changes, wanted, edition.Definitions); err != nil {
		return audience.Comparison{}, err
	}
	needed, err := dependencies(changes, wanted)
	if err != nil {
		return audience.Comparison{}, err
	}
	program, err := expr.Compile(sources(needed), scores)
	if err != nil {
		return audience.Comparison{}, err
	}
	var compared []audience.Renumbered
	comparison := audience.Comparison{At: s.Now()}
	for _, d := range needed {
		if changes[d.ID] {
			comparison.Segments = append(comparison.Segments, audience.ComparedSegment{ID: d.ID})
			compared = append(compared, audience.Renumbered{Before: edition.NumberOf(d.ID), After: d.Number})
		}
	}
	err = s.Database.Select(ctx, comparing(program.Query(comparison.At), compared, sample), func(scan func(...any) error) error {
		return scanCompared(scan, comparison.Segments)
	})
	if err != nil {
		return audience.Comparison{}, fmt.Errorf("compare: %w", err)
	}
	slices.SortStableFunc(comparison.Segments, func(a, b audience.ComparedSegment) int {
		switch segment.ID {
		case a.ID:
			return -1
		case b.ID:
			return 1
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return comparison, nil
}

// segmentsWith are the segments with a new or changed one among them.
func (s *Segmenter) segmentsWith(ctx context.Context, segment audience.Segment) ([]audience.Segment, error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	return append(slices.DeleteFunc(segments, func(other audience.Segment) bool { return other.ID == segment.ID }), segment), nil
}

// sources numbers definitions by their place, from 1.
func sources(definitions []audience.Definition) []expr.Segment {
	list := make([]expr.Segment, len(definitions))
	for i := range definitions {
		definitions[i].Number = audience.Number(i + 1)
		list[i] = source(definitions[i])
	}
	return list
}

// dependencies are some of the definitions, and those on which their membership depends.
func dependencies(some map[audience.SegmentID]bool, all []audience.Definition) ([]audience.Definition, error) {
	needed, groups := make(map[audience.SegmentID]bool), make(map[string]bool)
	for id := range some {
		needed[id] = true
	}
	for more := true; more; {
		more = false
		for _, d := range all {
			if !needed[d.ID] && (d.Group == "" || !groups[d.Group]) {
				continue
			}
			parsed, err := expr.Parse(d.Expression)
			if err != nil {
				return nil, fmt.Errorf("segment %q: %w", d.ID, err)
			}
			for _, id := range append(parsed.References().Segments, d.ID) {
				more = more || !needed[id]
				needed[id] = true
			}
			more = more || !groups[d.Group]
			groups[d.Group] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(d audience.Definition) bool { return !needed[d.ID] }), nil
}

// comparing counts, for each pair of a number on record and a number computed, who would enter, leave and stay, with samples.
func comparing(computed audience.Query, pairs []audience.Renumbered, sample int) audience.Query {
	var before, after, columns [5][]string
	for _, p := range pairs {
		before[0], after[0] = append(before[0], fmt.Sprint(p.Before)), append(after[0], fmt.Sprint(p.After))
		was, is := fmt.Sprintf("has(recorded.segments, %d)", p.Before), fmt.Sprintf("has(computed.segments, %d)", p.After)
		enters, leaves := is+" AND NOT "+was, was+" AND NOT "+is
		for i, column := range []string{
			"countIf(" + enters + ")", "countIf(" + leaves + ")", "countIf(" + was + " AND " + is + ")", sampled(sample, enters), sampled(sample, leaves),
		} {
			columns[i] = append(columns[i], column)
		}
	}
	var lists []string
	for _, column := range columns {
		lists = append(lists, "["+strings.Join(column, ",\n  ")+"]")
	}
	computed.SQL = fmt.Sprintf(`SELECT %s
FROM (SELECT user_id, segments FROM (%s) WHERE hasAny(segments, CAST([%s], 'Array(UInt32)'))) AS computed
FULL JOIN (SELECT user_id, segments FROM members FINAL WHERE hasAny(segments, CAST([%s], 'Array(UInt32)'))) AS recorded USING (user_id)`,
		strings.Join(lists, ",\n"), computed.SQL, strings.Join(after[0], ", "), strings.Join(before[0], ", "))
	return computed
}

// sampled are the ids of at most so many of the users for whom a condition holds: the same ones every time.
func sampled(most int, condition string) string {
	return fmt.Sprintf("arrayMap(chosen -> chosen.2, groupArraySortedIf(%d)((cityHash64(user_id), user_id), %s))", max(most, 1), condition)
}

func scanCompared(scan func(...any) error, compared []audience.ComparedSegment) error {
	var counts [3][]uint64
	var samples [2][][]string
	if err := scan(&counts[0], &counts[1], &counts[2], &samples[0], &samples[1]); err != nil {
		return err
	}
	users := func(ids []string) (list []audience.UserID) {
		for _, id := range ids {
			list = append(list, audience.UserID(id))
		}
		return list
	}
	for i := range compared {
		c := &compared[i]
		c.Entering, c.Leaving, c.Staying = int64(counts[0][i]), int64(counts[1][i]), int64(counts[2][i])
		c.EnteringSample, c.LeavingSample = users(samples[0][i]), users(samples[1][i])
	}
	return nil
}
