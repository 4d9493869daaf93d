package server

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func (s *segmentService) ExplainMembership(ctx context.Context, req *audiencev1.ExplainMembershipRequest) (*audiencev1.ExplainMembershipResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	at, err := pastOf("time", req.GetTime(), s.now())
	if err != nil {
		return nil, err
	}
	segment, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	explanation, err := s.explainer.Explain(ctx, user, segment, at)
	if err != nil {
		return nil, err
	}
	return writeExplanation(explanation), nil
}

func writeExplanation(x audience.Explanation) *audiencev1.ExplainMembershipResponse {
	out := &audiencev1.ExplainMembershipResponse{
		Member: x.Member, Holds: x.Holds, Instead: nameOf(segmentsCollection, x.Instead), EvaluateTime: timestampOf(x.At),
	}
	if x.Pin != nil {
		out.Move = &audiencev1.DecidingMove{
			Into: x.Pin.Held == audience.HeldIn, Reason: x.Pin.Reason, Actor: x.Pin.Actor,
			CreateTime: timestampOf(x.Pin.Time), ExpireTime: timestampOf(x.Pin.Expires),
		}
	}
	if x.Since != nil {
		out.SinceTime, out.SinceCause = timestampOf(x.Since.Time), x.Since.Cause
	}
	for _, clause := range x.Clauses {
		explained := &audiencev1.ExplainedClause{Clause: clause.Text, Holds: clause.Holds}
		for _, condition := range clause.Conditions {
			of := &audiencev1.ExplainedCondition{Condition: condition.Text, Holds: condition.Holds}
			for _, value := range condition.Values {
				of.Values = append(of.Values, &audiencev1.ExplainedValue{Expression: value.Text, Value: value.Value, EventIds: value.Events})
			}
			explained.Conditions = append(explained.Conditions, of)
		}
		out.Clauses = append(out.Clauses, explained)
	}
	return out
}
