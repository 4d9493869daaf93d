package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newSegment(o *options) *cobra.Command {
	return newResource(o, segments, "Segments: preview, compare, evaluate, list members, go back to an earlier version",
		newSegmentPreview(o), newSegmentEvaluate(o), newSegmentMembers(o), newSegmentWatch(o),
		newSegmentCompare(o), newSegmentVersions(o), newSegmentRollback(o))
}

func newSegmentPreview(o *options) *cobra.Command {
	var sample int32
	var at instant
	command := &cobra.Command{
		Use: "preview EXPRESSION", Short: "Show whom an expression would take in, clause by clause", Args: cobra.ExactArgs(1),
		Example: `  kohorta segment preview 'rfm.r >= 4 && count("purchase", "30d") >= 2'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.segments.PreviewSegment(ctx, &audiencev1.PreviewSegmentRequest{Expression: args[0], SampleSize: sample, EvaluateTime: at.proto()})
				if err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).preview(r)
			})
		},
	}
	command.Flags().Int32Var(&sample, "sample", 10, "members to show, at most 100")
	command.Flags().Var(&at, "at", "instant to evaluate at, RFC 3339 or a date; default now")
	return command
}

func (p *printer) preview(r *audiencev1.PreviewSegmentResponse) error {
	if p.json {
		return p.message(r)
	}
	fmt.Fprintf(p.out, "%s of %s users\n", p.bold.Render(thousands(r.GetMemberCount())), thousands(r.GetUserCount()))
	rows := make([][]string, len(r.GetClauses()))
	for i, clause := range r.GetClauses() {
		rows[i] = []string{thousands(clause.GetUserCount()), clause.GetClause()}
	}
	p.table([]string{"users", "clause"}, rows, 0)
	if len(r.GetSampleUserIds()) > 0 {
		fmt.Fprintf(p.out, "for instance %s\n", strings.Join(r.GetSampleUserIds(), ", "))
	}
	return nil
}

func newSegmentEvaluate(o *options) *cobra.Command {
	var users []string
	command := &cobra.Command{
		Use: "evaluate", Short: "Bring the members of all segments up to date", Args: cobra.NoArgs,
		Example: "  kohorta segment evaluate\n  kohorta segment evaluate --user CG-12520",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.segments.EvaluateSegments(ctx, &audiencev1.EvaluateSegmentsRequest{UserIds: users})
				return followRun(ctx, cmd, o, c, r.GetRun(), err)
			})
		},
	}
	command.Flags().StringArrayVar(&users, "user", nil, "only this user; repeat the flag for several")
	return command
}

func newSegmentMembers(o *options) *cobra.Command {
	var filter string
	var at instant
	command := &cobra.Command{
		Use: "members [ID]", Short: "List the members of a segment, or of several together, one a line", Args: cobra.MaximumNArgs(1), ValidArgsFunction: segments.complete(o),
		Example: `  kohorta segment members champions | wc -l
  kohorta segment members --filter 'champions && !in_segment("recent-buyers")'
  kohorta segment members champions --at 2026-06-30`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (filter == "") == (len(args) == 0) {
				return errors.New("name one segment, or several by --filter")
			}
			request := &audiencev1.ListMembersRequest{Name: segments.name("-"), Filter: filter, Time: at.proto()}
			if filter == "" {
				request.Name = segments.name(args[0])
			}
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				p := newPrinter(cmd.OutOrStdout(), o)
				for r, err := range received(c.segments.ListMembers(ctx, request)) {
					if err != nil {
						return err
					}
					for _, user := range r.GetUserIds() {
						if err := p.member(user); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	command.Flags().StringVar(&filter, "filter", "", "instead of a segment: segments joined by &&, || and !")
	command.Flags().Var(&at, "at", "instant of the past, RFC 3339 or a date; default now")
	return command
}

// member writes a user on a line of its own.
func (p *printer) member(user string) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(map[string]string{"user_id": user})
	}
	_, err := fmt.Fprintln(p.out, user)
	return err
}
