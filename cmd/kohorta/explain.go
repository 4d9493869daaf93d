package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newUserExplain(o *options) *cobra.Command {
	var at instant
	command := &cobra.Command{
		Use: "explain USER SEGMENT", Short: "Explain why a user is in a segment, or is not", Args: cobra.ExactArgs(2),
		Example: "  kohorta user explain CG-12520 win-back\n  kohorta user explain CG-12520 win-back --at 2017-06-30",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.segments.ExplainMembership(ctx, &audiencev1.ExplainMembershipRequest{UserId: args[0], Name: segments.name(args[1]), Time: at.proto()})
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					return p.message(r)
				}
				_, err = fmt.Fprint(p.out, p.explanation(r))
				return err
			})
		},
	}
	command.Flags().Var(&at, "at", "instant to explain, RFC 3339 or a date; default now")
	return command
}

// explanation is the answer as text for people.
func (p *printer) explanation(r *audiencev1.ExplainMembershipResponse) string {
	var b strings.Builder
	verdict := "not in"
	if r.GetMember() {
		verdict = "in"
	}
	b.WriteString(p.bold.Render(verdict))
	if r.GetSinceTime() != nil {
		fmt.Fprintf(&b, " since %s, by %s", cell(r, "since_time"), r.GetSinceCause())
	}
	b.WriteByte('\n')
	if move := r.GetMove(); move != nil {
		direction := "out"
		switch {
		case move.GetInto() && r.GetInstead() != "": // of an exclusive group, the move is into the one that comes first
			direction = "into " + strings.TrimPrefix(r.GetInstead(), "segments/")
		case move.GetInto():
			direction = "in"
		}
		fmt.Fprintf(&b, "  moved %s by %s: %s\n", direction, cmp.Or(move.GetActor(), "nobody named"), cmp.Or(move.GetReason(), "no reason given"))
	}
	if r.GetInstead() != "" {
		fmt.Fprintf(&b, "  %s of the same group comes first\n", strings.TrimPrefix(r.GetInstead(), "segments/"))
	}
	for _, clause := range r.GetClauses() {
		fmt.Fprintf(&b, "  %s %s\n", tick(clause.GetHolds()), clause.GetClause())
		for _, condition := range clause.GetConditions() {
			if len(clause.GetConditions()) > 1 {
				fmt.Fprintf(&b, "      %s %s\n", tick(condition.GetHolds()), condition.GetCondition())
			}
			for _, value := range condition.GetValues() {
				fmt.Fprintf(&b, "        %s is %s", value.GetExpression(), value.GetValue())
				if len(value.GetEventIds()) > 0 {
					fmt.Fprintf(&b, "  %s", p.dim.Render("events "+strings.Join(value.GetEventIds(), ", ")))
				}
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

func tick(holds bool) string {
	if holds {
		return "✓"
	}
	return "✗"
}
