package segmenter

import (
	"context"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// previewed is the id an expression has while it is tried: no segment can have it.
const previewed audience.SegmentID = ""

// Preview says for whom an expression is true at an instant (zero: now), clause by clause, and changes nothing. What is wrong
// with the expression is an InvalidError of the field "expression".
func (s *Segmenter) Preview(ctx context.Context, expression string, at time.Time, sample int) (audience.Preview, error) {
	if at.IsZero() {
		at = s.Now()
	}
	program, err := s.programWith(ctx, newest(audience.Segment{ID: previewed, Expression: expression}))
	if err != nil {
		return audience.Preview{}, err
	}
	preview := audience.Preview{At: at}
	err = s.Database.Select(ctx, program.Preview(previewed, at, sample), func(scan func(...any) error) error {
		var size uint64
		var users []string
		var clauses []uint64
		if err := scan(&size, &users, &clauses); err != nil {
			return err
		}
		preview.Members = int64(size)
		for _, user := range users {
			preview.Sample = append(preview.Sample, audience.UserID(user))
		}
		for i, clause := range program.Expr(previewed).Clauses() {
			preview.Clauses = append(preview.Clauses, audience.ClauseCount{Clause: clause.Text, Users: int64(clauses[i])})
		}
		return nil
	})
	if err != nil {
		return audience.Preview{}, fmt.Errorf("preview: %w", err)
	}
	err = s.Database.Select(ctx, audience.Query{SQL: "SELECT toInt64(uniqExact(user_id)) FROM users"}, func(scan func(...any) error) error {
		return scan(&preview.Users)
	})
	return preview, err
}

// programWith compiles the enabled segments with a new or changed one among them. Errors about that one leave out its id, which
// its author knows.
func (s *Segmenter) programWith(ctx context.Context, segment expr.Segment) (*expr.Program, error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, err
	}
	scores, err := s.scores(ctx)
	if err != nil {
		return nil, err
	}
	sources := []expr.Segment{segment}
	for _, other := range segments {
		if other.ID != segment.ID && !other.Disabled {
			sources = append(sources, newest(other))
		}
	}
	program, err := expr.Compile(sources, scores)
	return program, ofAuthor(segment.ID, err)
}
