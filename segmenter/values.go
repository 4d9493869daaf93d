package segmenter

import (
	"context"
	"errors"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// Values composes the query of audience.Values for what an expression is at an instant: NaN where it is missing. What is wrong
// with the expression is an InvalidError of the field "value".
func (s *Segmenter) Values(ctx context.Context, expression string, at time.Time) (audience.Query, error) {
	program, err := s.valueProgram(ctx, expression)
	if err != nil {
		return audience.Query{}, err
	}
	return program.Values(previewed, at, audience.UsersOfValues), nil
}

// CheckValue says what is wrong with an expression of values, as Values does.
func (s *Segmenter) CheckValue(ctx context.Context, expression string) error {
	_, err := s.valueProgram(ctx, expression)
	return err
}

func (s *Segmenter) valueProgram(ctx context.Context, expression string) (*expr.Program, error) {
	program, err := s.programWith(ctx, expr.Segment{ID: previewed, Expression: expression, Numeric: true})
	return program, ofValue(err)
}

// ValueReferences lists the segments and models an expression of values names.
func (s *Segmenter) ValueReferences(expression string) ([]audience.SegmentID, []audience.ModelID, error) {
	parsed, err := expr.ParseNumber(expression)
	if err != nil {
		return nil, nil, ofValue(err)
	}
	references := parsed.References()
	return references.Segments, references.Models, nil
}

// ofValue makes a fault of an expression one of the field "value".
func ofValue(err error) error {
	var fault *expr.Error
	if errors.As(err, &fault) {
		return audience.Invalid("value", "%s", fault.Error())
	}
	return err
}
