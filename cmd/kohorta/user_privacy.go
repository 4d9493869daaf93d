package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newUserErase(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "erase USER", Short: "Erase a user here and on every platform, and wait for confirmation", Args: cobra.ExactArgs(1),
		Long: `Removes the user from every platform ahead of all other work, deletes everything stored about them, and ends once each platform
has confirmed that it no longer holds them. Interrupting the command only stops watching. Whatever arrives for the id later is
refused, until "kohorta user readmit".`,
		Example: "  kohorta user erase CG-12520",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.privacy.EraseUser(ctx, &audiencev1.EraseUserRequest{UserId: args[0]})
				return followRun(ctx, cmd, o, c, r.GetRun(), err)
			})
		},
	}
}

func newUserReadmit(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "readmit USER", Short: "Let the id of an erased user be used again, for a new person", Args: cobra.ExactArgs(1),
		Example: "  kohorta user readmit CG-12520",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				if _, err := c.privacy.ReadmitUser(ctx, &audiencev1.ReadmitUserRequest{UserId: args[0]}); err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"readmitted": true}, "readmitted: from now on the id belongs to a new person")
			})
		},
	}
}

func newUserExport(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "export USER", Short: "Write everything stored about a user, one JSON document per line", Args: cobra.ExactArgs(1),
		Example: "  kohorta user export CG-12520 > CG-12520.ndjson",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				found := false
				for record, err := range received(c.privacy.ExportUser(ctx, &audiencev1.ExportUserRequest{UserId: args[0]})) {
					if err != nil {
						return err
					}
					line, err := asJSON.Marshal(record)
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line); err != nil {
						return err
					}
					found = true
				}
				if !found {
					fmt.Fprintln(cmd.ErrOrStderr(), "nothing is stored about this user")
				}
				return nil
			})
		},
	}
}

func newUserStop(o *options) *cobra.Command {
	var only []string
	var until instant
	request := &audiencev1.StopUserRequest{}
	command := &cobra.Command{
		Use: "stop USER", Short: "Remove a user from platforms at once, and keep them off", Args: cobra.ExactArgs(1),
		Example: "  kohorta user stop CG-12520\n  kohorta user stop CG-12520 --audience champions-meta --reason purchase --until 2027-01-31",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				request.UserId, request.Audiences, request.ExpireTime = args[0], audiences.names(only), until.proto()
				if _, err := c.privacy.StopUser(ctx, request); err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"stopped": true}, "stopped: removal from the platforms comes before all other work")
			})
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&only, "audience", nil, "only this audience; default all, future ones included")
	flags.StringVar(&request.Reason, "reason", "crm", "one word, shown in plans and reports")
	flags.Var(&until, "until", "when it ends, RFC 3339 or a date; default: when resumed")
	return command
}

func newUserResume(o *options) *cobra.Command {
	var only []string
	command := &cobra.Command{
		Use: "resume USER", Short: "End a stop; the next syncs add the user again, if still a member", Args: cobra.ExactArgs(1),
		Example: "  kohorta user resume CG-12520\n  kohorta user resume CG-12520 --audience champions-meta",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				_, err := c.privacy.ResumeUser(ctx, &audiencev1.ResumeUserRequest{UserId: args[0], Audiences: audiences.names(only)})
				if err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"stopped": false}, "resumed")
			})
		},
	}
	command.Flags().StringSliceVar(&only, "audience", nil, "end the stop for this audience; default: the one for all")
	return command
}

func newAudit(o *options) *cobra.Command {
	request := &audiencev1.ListAuditRequest{}
	command := &cobra.Command{
		Use: "audit", Short: "Who did what, newest first", Args: cobra.NoArgs,
		Long: `Lists the calls that changed something, except those that take in events, profiles and consents. The actor is what callers say of
themselves: this command line sends KOHORTA_ACTOR, else the name of the user on this machine. For a move that came in over HTTP
it is the source whose secret signed it.`,
		Example: "  kohorta audit\n  kohorta audit --resource audiences/champions-meta",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.privacy.ListAudit(ctx, request)
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					return p.message(r)
				}
				rows := make([][]string, len(r.GetEntries()))
				for i, e := range r.GetEntries() {
					rows[i] = []string{cell(e, "time"), e.GetActor(), e.GetCall(), e.GetResource(), strings.TrimPrefix(e.GetRun(), "runs/"), e.GetRequestId()}
				}
				if len(rows) == 0 {
					if request.GetActor() != "" || request.GetResource() != "" {
						return p.done(nil, "no entry is of this actor or resource; names are compared whole, such as audiences/champions-meta")
					}
					return p.done(nil, "nothing has been changed yet")
				}
				p.table([]string{"time", "actor", "call", "resource", "run", "request"}, rows)
				return nil
			})
		},
	}
	command.Flags().Int32Var(&request.PageSize, "limit", 50, "entries to show, at most 1000")
	command.Flags().StringVar(&request.Actor, "actor", "", "only by this actor")
	command.Flags().StringVar(&request.Resource, "resource", "", "only on this resource, e.g. audiences/champions-meta")
	return command
}
