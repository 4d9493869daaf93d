package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func runName(id string) string { return "runs/" + strings.TrimPrefix(id, "runs/") }

func newRun(o *options) *cobra.Command {
	var limit int32
	command := &cobra.Command{Use: "run", Short: "Runs: trainings, evaluations and syncs, past and present", Aliases: []string{"runs"}}
	list := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs, Example: "  kohorta run list --limit 10",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.runs.ListRuns(ctx, &audiencev1.ListRunsRequest{PageSize: limit})
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					list := make([]proto.Message, len(r.GetRuns()))
					for i, run := range r.GetRuns() {
						list[i] = run
					}
					return p.messages(list)
				}
				rows := make([][]string, len(r.GetRuns()))
				for i, run := range r.GetRuns() {
					rows[i] = []string{strings.TrimPrefix(run.GetName(), "runs/"), cell(run, "kind"), run.GetSubject(), cell(run, "state"), cell(run, "occasion"), cell(run, "create_time"), plain(run.GetError())}
				}
				if len(rows) == 0 {
					return p.done(nil, "there are no runs yet; trainings, evaluations and syncs create them")
				}
				p.table([]string{"run", "kind", "subject", "state", "occasion", "started", "error"}, rows)
				return nil
			})
		},
	}
	list.Flags().Int32Var(&limit, "limit", 20, "runs to show, at most 1000")
	command.AddCommand(list,
		&cobra.Command{
			Use: "get RUN", Short: "Show a run", Args: cobra.ExactArgs(1), Example: "  kohorta run get 0193a0c2-…",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.runs.GetRun(ctx, &audiencev1.GetRunRequest{Name: runName(args[0])})
					if err != nil {
						return err
					}
					held, err := c.heldSyncs(ctx)
					if err != nil {
						return err
					}
					waits := slices.ContainsFunc(held, func(h *audiencev1.HeldSync) bool { return h.GetRun() == r.GetRun().GetName() })
					return newPrinter(cmd.OutOrStdout(), o).run(r.GetRun(), waits)
				})
			},
		},
		&cobra.Command{
			Use: "watch RUN", Short: "Follow a run to its end", Args: cobra.ExactArgs(1), Example: "  kohorta run watch 0193a0c2-…",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					return followRun(ctx, cmd, o, c, &audiencev1.Run{Name: runName(args[0])}, nil)
				})
			},
		},
		&cobra.Command{
			Use: "resume RUN", Short: "Resume a sync or training that failed, was cancelled or was interrupted", Args: cobra.ExactArgs(1), Example: "  kohorta run resume 0193a0c2-…",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.runs.ResumeRun(ctx, &audiencev1.ResumeRunRequest{Name: runName(args[0])})
					return followRun(ctx, cmd, o, c, r.GetRun(), err)
				})
			},
		},
		&cobra.Command{
			Use: "cancel RUN", Short: "Ask a run to stop at the next safe point", Args: cobra.ExactArgs(1), Example: "  kohorta run cancel 0193a0c2-…",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.runs.CancelRun(ctx, &audiencev1.CancelRunRequest{Name: runName(args[0])})
					if err != nil {
						return err
					}
					if r.GetRun().GetEndTime() != nil {
						return fmt.Errorf("%s has already ended: %s", runName(args[0]), cell(r.GetRun(), "state"))
					}
					return newPrinter(cmd.OutOrStdout(), o).done(map[string]string{"cancelling": runName(args[0])}, fmt.Sprintf("%s was asked to stop", runName(args[0])))
				})
			},
		},
	)
	return command
}
