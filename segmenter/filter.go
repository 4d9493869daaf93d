package segmenter

import (
	"context"
	"errors"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
)

// Filter compiles an expression over the enabled segments, such as vip && !in_segment("lapsed"), to a test of memberships under
// an edition. What is wrong with it is an InvalidError of the field "filter".
func (s *Segmenter) Filter(ctx context.Context, edition *audience.Edition, expression string) (func([]audience.Number) bool, error) {
	segments, err := s.Catalogue.Segments(ctx)
	if err != nil {
		return nil, err
	}
	numbers := make(map[audience.SegmentID]audience.Number, len(segments))
	for _, segment := range enabled(segments) {
		numbers[segment.ID] = edition.NumberOf(segment.ID) // 0, which nobody holds, before it comes into force
	}
	test, err := expr.Filter(expression, func(id audience.SegmentID) (audience.Number, bool) {
		number, known := numbers[id]
		return number, known
	})
	var fault *expr.Error
	if errors.As(err, &fault) {
		return nil, audience.Invalid("filter", "%s", fault.Error())
	}
	return test, err
}
