package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newSegmentCompare(o *options) *cobra.Command {
	var group string
	var priority, sample int32
	command := &cobra.Command{
		Use: "compare ID [EXPRESSION]", Short: "Show who would enter and leave by another expression, and change nothing",
		Long: `Evaluates another expression for a segment, or that of a new one, for everybody, and compares it with the members there are: how many
would enter, leave and stay, and for instance who; and the same of the segments that depend on it. Without an expression, it compares the
segment's newest version with the one in force.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: segments.complete(o),
		Example: `  kohorta segment compare champions 'rfm.r >= 4 && count("purchase", "30d") >= 2'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				request := &audiencev1.CompareSegmentRequest{Name: segments.name(args[0]), SampleSize: sample}
				if len(args) == 2 {
					request.Segment = &audiencev1.Segment{Expression: args[1], Group: group, Priority: priority}
				}
				r, err := c.segments.CompareSegment(ctx, request)
				if err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).comparison(r)
			})
		},
	}
	command.Flags().StringVar(&group, "group", "", "exclusive group, with an expression")
	command.Flags().Int32Var(&priority, "priority", 0, "place in the group, with an expression")
	command.Flags().Int32Var(&sample, "sample", 3, "users to show for each number, at most 100")
	return command
}

func (p *printer) comparison(r *audiencev1.CompareSegmentResponse) error {
	if p.json {
		return p.message(r)
	}
	rows := make([][]string, len(r.GetSegments()))
	for i, s := range r.GetSegments() {
		rows[i] = []string{
			strings.TrimPrefix(s.GetName(), "segments/"), thousands(s.GetEnteringCount()), thousands(s.GetLeavingCount()), thousands(s.GetStayingCount()),
			strings.Join(s.GetEnteringUserIds(), ", "), strings.Join(s.GetLeavingUserIds(), ", "),
		}
	}
	p.table([]string{"segment", "enter", "leave", "stay", "for instance in", "for instance out"}, rows, 1, 2, 3)
	return nil
}

func newSegmentVersions(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "versions ID", Short: "List what a segment's definition is and was", Args: cobra.ExactArgs(1), ValidArgsFunction: segments.complete(o),
		Example: "  kohorta segment versions champions",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				all := &audiencev1.ListSegmentVersionsResponse{}
				for request := (&audiencev1.ListSegmentVersionsRequest{Name: segments.name(args[0]), PageSize: listPage}); ; {
					r, err := c.segments.ListSegmentVersions(ctx, request)
					if err != nil {
						return err
					}
					all.Versions = append(all.Versions, r.GetVersions()...)
					if request.PageToken = r.GetNextPageToken(); request.PageToken == "" {
						return newPrinter(cmd.OutOrStdout(), o).versions(all)
					}
				}
			})
		},
	}
}

func (p *printer) versions(r *audiencev1.ListSegmentVersionsResponse) error {
	if p.json {
		return p.message(r)
	}
	rows := make([][]string, len(r.GetVersions()))
	for i, v := range r.GetVersions() {
		inForce := map[bool]string{true: "in force"}[v.GetInForce()]
		group := v.GetGroup()
		if group != "" {
			group += " " + strconv.Itoa(int(v.GetPriority()))
		}
		rows[i] = []string{strconv.FormatInt(v.GetVersion(), 10), cell(v, "create_time"), inForce, group, v.GetExpression()}
	}
	p.table([]string{"version", "made", "", "group", "expression"}, rows, 0)
	return nil
}

func newSegmentRollback(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "rollback ID VERSION", Short: "Give a segment the definition of an earlier version again", Args: cobra.ExactArgs(2), ValidArgsFunction: segments.complete(o),
		Long: `Makes the definition of an earlier version the newest, and waits until it is in force: until then, members are by the definition there was.
kohorta segment versions lists the versions; kohorta segment compare says beforehand who would enter and leave.`,
		Example: "  kohorta segment rollback champions 3",
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not the number of a version", args[1])
			}
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.segments.RollbackSegment(ctx, &audiencev1.RollbackSegmentRequest{Name: segments.name(args[0]), Version: version})
				if err != nil {
					return err
				}
				if r.GetRun() == nil {
					return newPrinter(cmd.OutOrStdout(), o).done(r.GetSegment().GetName(), fmt.Sprintf("%s is of version %d", r.GetSegment().GetName(), r.GetSegment().GetVersion()))
				}
				return followRun(ctx, cmd, o, c, r.GetRun(), nil)
			})
		},
	}
}
