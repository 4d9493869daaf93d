package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newDestination(o *options) *cobra.Command {
	return newResource(o, destinations, "Destinations: advertising accounts", newDestinationCheck(o))
}

func newDestinationCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check DESTINATION", Short: "Ask the platform now whether the secrets open the account; ends with status 1 when they do not",
		Args: cobra.ExactArgs(1), ValidArgsFunction: destinations.complete(o), Example: "  kohorta destination check meta",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.audiences.CheckDestination(ctx, &audiencev1.CheckDestinationRequest{Name: destinations.name(args[0])})
				if err != nil {
					return err
				}
				p, d := newPrinter(cmd.OutOrStdout(), o), r.GetDestination()
				if p.json {
					return p.message(d)
				}
				for _, warning := range d.GetWarnings() {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+warning)
				}
				switch d.GetState() {
				case audiencev1.Destination_STATE_OK:
					return p.done(nil, "its work goes on: the platform accepts the secrets, with the rights that syncs need")
				case audiencev1.Destination_STATE_WAITING:
					return fmt.Errorf("its work has been waiting since %s: %s; %s", cell(d, "trouble_time"), d.GetTrouble(), d.GetRemedy())
				case audiencev1.Destination_STATE_UNSPECIFIED:
				}
				return errors.New("the platform does not answer")
			})
		},
	}
}

func newAudience(o *options) *cobra.Command {
	return newResource(o, audiences, "Audiences: segments bound to destinations")
}

func newSync(o *options) *cobra.Command {
	command := &cobra.Command{Use: "sync", Short: "Keep an audience on its platform equal to its segment"}
	command.AddCommand(
		&cobra.Command{
			Use: "plan AUDIENCE", Short: "Show what a sync would send, and send nothing", Args: cobra.ExactArgs(1), ValidArgsFunction: audiences.complete(o),
			Example: "  kohorta sync plan champions-meta",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.audiences.PlanSync(ctx, &audiencev1.PlanSyncRequest{Name: audiences.name(args[0])})
					if err != nil {
						return err
					}
					p := newPrinter(cmd.OutOrStdout(), o)
					if p.json {
						return p.message(r.GetPlan())
					}
					_, err = fmt.Fprintln(p.out, planInWords(r.GetPlan()))
					return err
				})
			},
		},
		newSyncStart(o),
		&cobra.Command{
			Use: "approve RUN", Short: "Send what a held sync did not", Args: cobra.ExactArgs(1),
			Example: "  kohorta sync held\n  kohorta sync approve 0193a0c2-…",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.audiences.ApproveSync(ctx, &audiencev1.ApproveSyncRequest{Run: runName(args[0])})
					return followRun(ctx, cmd, o, c, r.GetRun(), err)
				})
			},
		},
		newSyncDrop(o),
		newSyncHeld(o),
	)
	return command
}

func newSyncStart(o *options) *cobra.Command {
	var recreate bool
	command := &cobra.Command{
		Use: "start AUDIENCE", Short: "Sync an audience and watch it; a held sync ends with status 3", Args: cobra.ExactArgs(1), ValidArgsFunction: audiences.complete(o),
		Example: "  kohorta sync start champions-meta\n  kohorta sync start champions-meta --recreate",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.audiences.StartSync(ctx, &audiencev1.StartSyncRequest{Name: audiences.name(args[0]), Recreate: recreate})
				return followRun(ctx, cmd, o, c, r.GetRun(), err)
			})
		},
	}
	command.Flags().BoolVar(&recreate, "recreate", false, "create the audience anew and load all members: someone deleted it on the platform")
	return command
}

// followRun watches a run that was just started, and shows its end.
func followRun(ctx context.Context, cmd *cobra.Command, o *options, c *client, run *audiencev1.Run, err error) error {
	if err != nil {
		return err
	}
	if run, err = c.watch(ctx, cmd.ErrOrStderr(), run.GetName()); err != nil {
		return err
	}
	if err := newPrinter(cmd.OutOrStdout(), o).run(run, true); err != nil {
		return err
	}
	switch run.GetState() {
	case audiencev1.Run_STATE_HELD:
		return errHeld
	case audiencev1.Run_STATE_CANCELLED:
		return fmt.Errorf("%s was cancelled", run.GetName())
	default:
		return nil
	}
}

// errHeld ends a command whose sync waits for approval; what there is to say has been printed.
var errHeld = errors.New("the sync is held")

// countOf is "1 request", "2 requests".
func countOf(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}

func newSyncDrop(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "drop RUN", Short: "Decide against a held sync: it cannot be approved any more", Args: cobra.ExactArgs(1),
		Example: "  kohorta sync held\n  kohorta sync drop 0193a0c2-…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				if _, err := c.audiences.DropSync(ctx, &audiencev1.DropSyncRequest{Run: runName(args[0])}); err != nil {
					return err
				}
				return newPrinter(cmd.OutOrStdout(), o).done(map[string]string{"dropped": runName(args[0])}, "dropped; the next sync makes a plan of its own")
			})
		},
	}
}

func newSyncHeld(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "held", Short: "Show the syncs that wait for approval, and why", Args: cobra.NoArgs, Example: "  kohorta sync held",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				held, err := c.heldSyncs(ctx)
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					messages := make([]proto.Message, len(held))
					for i, h := range held {
						messages[i] = h
					}
					return p.messages(messages)
				}
				if len(held) == 0 {
					return p.done(nil, "no sync waits")
				}
				for _, h := range held {
					fmt.Fprintf(p.out, "%s  %s  since %s, until %s\n%s\n\n", h.GetAudience(), h.GetRun(), cell(h, "hold_time"), cell(h, "expire_time"), planInWords(h.GetPlan()))
				}
				return nil
			})
		},
	}
}

// heldSyncs are all syncs that wait for approval.
func (c *client) heldSyncs(ctx context.Context) (held []*audiencev1.HeldSync, err error) {
	for token := ""; ; {
		r, err := c.audiences.ListHeldSyncs(ctx, &audiencev1.ListHeldSyncsRequest{PageSize: listPage, PageToken: token})
		if err != nil {
			return nil, err
		}
		held = append(held, r.GetHeldSyncs()...)
		if token = r.GetNextPageToken(); token == "" {
			return held, nil
		}
	}
}

// planInWords is a plan on a few lines.
func planInWords(plan *audiencev1.SyncPlan) string {
	takes := plan.GetSendDuration().AsDuration()
	about := fmt.Sprint("about ", max(takes.Round(time.Second), time.Second))
	if takes >= time.Minute {
		about += plan.GetFinishTime().AsTime().Format(", until 2 January 15:04 UTC")
	}
	removals := thousands(plan.GetRemovalCount())
	if stops := plan.GetStopCount(); stops > 0 {
		removals += fmt.Sprintf(" (%s at once, for they must not be held)", thousands(stops))
	}
	lines := []string{fmt.Sprintf("add %s, remove %s, change %s, leave %s; %s, %s",
		thousands(plan.GetAdditionCount()), removals, thousands(plan.GetChangeCount()),
		thousands(plan.GetUnchangedCount()), countOf(plan.GetRequestCount(), "request"), about)}
	if revalued := plan.GetRevaluedCount(); revalued > 0 {
		lines = append(lines, fmt.Sprintf("send %s again, whose value has moved", thousands(revalued)))
	}
	if plan.GetWayReason() != "" {
		lines = append(lines, "by "+plan.GetWayReason())
	}
	for _, reason := range slices.Sorted(maps.Keys(plan.GetSuppressedCounts())) {
		lines = append(lines, fmt.Sprintf("not sent, %s: %s", strings.ReplaceAll(reason, "_", " "), thousands(plan.GetSuppressedCounts()[reason])))
	}
	for _, reason := range plan.GetHoldReasons() {
		lines = append(lines, "would wait for approval: "+reason)
	}
	return strings.Join(lines, "\n")
}
