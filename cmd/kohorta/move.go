package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newUserMove(o *options) *cobra.Command {
	var into, outOf, release []string
	var expires instant
	request := &audiencev1.MoveUserRequest{}
	command := &cobra.Command{
		Use: "move USER", Short: "Put a user into segments or out of them, whatever their expressions say", Args: cobra.ExactArgs(1),
		Example: "  kohorta user move CG-12520 --into champions --reason 'sponsor' --expires 2027-01-31\n  kohorta user move CG-12520 --release champions",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				request.UserId, request.ExpireTime = args[0], expires.proto()
				request.Into, request.OutOf, request.Release = segments.names(into), segments.names(outOf), segments.names(release)
				r, err := c.memberships.MoveUser(ctx, request)
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					return p.message(r)
				}
				return p.done(nil, "moved; now in "+cmp.Or(segmentsOf(r.GetMembership()), "no segment"))
			})
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&into, "into", nil, "segments to be in")
	flags.StringSliceVar(&outOf, "out-of", nil, "segments to be kept out of")
	flags.StringSliceVar(&release, "release", nil, "segments whose expression decides again")
	flags.StringVar(&request.Reason, "reason", "", "why, for people")
	flags.StringVar(&request.Actor, "actor", "", "who asks for it; default KOHORTA_ACTOR, else the name of the user on this machine")
	flags.Var(&expires, "expires", "when it ends, RFC 3339 or a date; default never")
	return command
}

// names takes ids or resource names.
func (k kind) names(ids []string) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = k.name(id)
	}
	return names
}

func newSegmentWatch(o *options) *cobra.Command {
	var cursor string
	command := &cobra.Command{
		Use: "watch [ID …]", Short: "Show who enters and leaves, as it happens", ValidArgsFunction: segments.complete(o),
		Example: "  kohorta segment watch\n  kohorta segment watch champions win-back --output json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				p := newPrinter(cmd.OutOrStdout(), o)
				request := &audiencev1.WatchMembershipRequest{Segments: segments.names(args), Cursor: cursor}
				for r, err := range received(c.memberships.WatchMembership(ctx, request)) {
					if ctx.Err() != nil {
						return nil // the caller has seen enough
					}
					if err != nil {
						return err
					}
					for _, change := range r.GetChanges() {
						if err := p.change(change); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	command.Flags().StringVar(&cursor, "cursor", "", "continue after this change; default: from now on")
	return command
}

func (p *printer) change(change *audiencev1.MembershipChange) error {
	if p.json {
		return p.message(change)
	}
	var steps []string
	for _, name := range change.GetEntered() {
		steps = append(steps, "+"+strings.TrimPrefix(name, "segments/"))
	}
	for _, name := range change.GetLeft() {
		steps = append(steps, "-"+strings.TrimPrefix(name, "segments/"))
	}
	_, err := fmt.Fprintf(p.out, "%s  %s  %s  %s\n", cell(change, "time"), change.GetUserId(), strings.Join(steps, " "), p.dim.Render(change.GetCause()))
	return err
}
