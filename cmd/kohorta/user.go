package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newUser(o *options) *cobra.Command {
	command := &cobra.Command{Use: "user", Short: "Users: which segments they are in, what they consent to", Aliases: []string{"users"}}
	command.AddCommand(
		&cobra.Command{
			Use: "segments USER", Short: "Show the segments a user is in", Args: cobra.ExactArgs(1), Example: "  kohorta user segments CG-12520",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.memberships.GetMembership(ctx, &audiencev1.GetMembershipRequest{UserId: args[0]})
					if err != nil {
						return err
					}
					p := newPrinter(cmd.OutOrStdout(), o)
					if p.json {
						return p.message(r.GetMembership())
					}
					text := "in no segment"
					if segments := r.GetMembership().GetSegments(); len(segments) > 0 {
						text = strings.Join(segments, "\n")
					}
					return p.done(nil, text)
				})
			},
		},
		&cobra.Command{
			Use: "check USER SEGMENT", Short: "Check whether a user is in a segment", Args: cobra.ExactArgs(2), Example: "  kohorta user check CG-12520 champions",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.memberships.CheckMembership(ctx, &audiencev1.CheckMembershipRequest{UserId: args[0], Segment: segments.name(args[1])})
					if err != nil {
						return err
					}
					return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"member": r.GetMember(), "version": r.GetVersion()}, fmt.Sprint(r.GetMember()))
				})
			},
		},
		newUserConsent(o),
		newUserMove(o),
		newUserExplain(o),
		newUserStop(o),
		newUserResume(o),
		newUserExport(o),
		newUserErase(o),
		newUserReadmit(o),
	)
	return command
}

func newUserConsent(o *options) *cobra.Command {
	consent := &audiencev1.Consent{}
	var destination string
	var withdraw bool
	command := &cobra.Command{
		Use: "consent USER", Short: "Record that a user grants or withdraws consent", Args: cobra.ExactArgs(1),
		Example: "  kohorta user consent CG-12520 --withdraw\n  kohorta user consent CG-12520 --destination meta",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				consent.Granted = !withdraw
				if destination != "" {
					consent.Destination = destinations.name(destination)
				}
				r, err := c.ingest.SetConsent(ctx, &audiencev1.SetConsentRequest{UserId: args[0], Consents: []*audiencev1.Consent{consent}})
				if err != nil {
					return err
				}
				for _, warning := range r.GetWarnings() {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+warning)
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]any{"granted": consent.GetGranted(), "warnings": r.GetWarnings()}, "recorded")
			})
		},
	}
	command.Flags().StringVar(&consent.Purpose, "purpose", audience.DefaultPurpose, "what the data may be used for")
	command.Flags().StringVar(&destination, "destination", "", "only this destination; default all")
	command.Flags().BoolVar(&withdraw, "withdraw", false, "withdraw instead of grant")
	return command
}

// segmentsOf are the ids of the segments of a membership.
func segmentsOf(m *audiencev1.Membership) string { return missing(m.GetSegments(), nil) }
