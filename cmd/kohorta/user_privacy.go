package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newUserErase(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "erase USER", Short: "Forget a user here and on every platform, and watch it be confirmed", Args: cobra.ExactArgs(1),
		Long: `Takes the user off every platform ahead of all other work, deletes all that is stored of her, and ends once each platform has
confirmed that it does not hold her. Interrupted, it only stops watching. Whatever comes in of the id later is refused, until "kohorta user readmit".`,
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
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"readmitted": true}, "readmitted: the id names a new person from now on")
			})
		},
	}
}

func newUserExport(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "export USER", Short: "Write all that is stored of a user, as one JSON document a line", Args: cobra.ExactArgs(1),
		Example: "  kohorta user export CG-12520 > CG-12520.ndjson",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				stream, err := c.privacy.ExportUser(ctx, &audiencev1.ExportUserRequest{UserId: args[0]})
				if err != nil {
					return err
				}
				for {
					record, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
					line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(record)
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line); err != nil {
						return err
					}
				}
			})
		},
	}
}

func newUserStop(o *options) *cobra.Command {
	var audiences []string
	var until instant
	request := &audiencev1.StopUserRequest{}
	command := &cobra.Command{
		Use: "stop USER", Short: "Take a user off platforms at once, and keep her off", Args: cobra.ExactArgs(1),
		Example: "  kohorta user stop CG-12520\n  kohorta user stop CG-12520 --audience champions-meta --reason purchase --until 2027-01-31",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				request.UserId, request.Audiences, request.ExpireTime = args[0], kinds[3].names(audiences), until.proto()
				if _, err := c.privacy.StopUser(ctx, request); err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"stopped": true}, "stopped: whoever holds her is told to let go before anything else")
			})
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&audiences, "audience", nil, "only this audience; default all, those to come included")
	flags.StringVar(&request.Reason, "reason", "crm", "a word for plans and reports")
	flags.Var(&until, "until", "when it ends, RFC 3339 or a date; default with user resume")
	return command
}

func newUserResume(o *options) *cobra.Command {
	var audiences []string
	command := &cobra.Command{
		Use: "resume USER", Short: "End a stop; the next syncs add the user again if she is a member", Args: cobra.ExactArgs(1),
		Example: "  kohorta user resume CG-12520\n  kohorta user resume CG-12520 --audience champions-meta",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				_, err := c.privacy.ResumeUser(ctx, &audiencev1.ResumeUserRequest{UserId: args[0], Audiences: kinds[3].names(audiences)})
				if err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"stopped": false}, "resumed")
			})
		},
	}
	command.Flags().StringSliceVar(&audiences, "audience", nil, "the stop of this audience; default the one of all")
	return command
}

func newAudit(o *options) *cobra.Command {
	request := &audiencev1.ListAuditRequest{}
	command := &cobra.Command{
		Use: "audit", Short: "Who did what, newest first", Args: cobra.NoArgs,
		Long: `Lists the calls that changed something, but for the intake of events, profiles and consents. Who acts is what callers say of
themselves: this command line sends KOHORTA_ACTOR, else the name of the user at this machine. Of a move that came in over HTTP it is
the source whose secret has signed it.`,
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
					return p.done(nil, "nobody has changed anything yet")
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
