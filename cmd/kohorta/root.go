package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// options are the flags every command shares.
type options struct {
	server string // host:port of a running service
	output string // "text" or "json"
}

func (o *options) json() bool { return o.output == "json" }

func newRoot() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "kohorta",
		Short: "Segments users over their event history and keeps ad platforms' audiences equal to the segments",
		Long: `Kohorta segments users over their event history in ClickHouse, keeps live membership in Redis, and keeps Meta Custom Audiences
and TikTok audiences exactly equal to it by confirmed diffs.

"kohorta demo" shows everything at work on real orders. "kohorta serve" runs the service; all other commands ask a running one.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{"text", "json"}, o.output) {
				return fmt.Errorf("--output: %q is neither text nor json", o.output)
			}
			return nil
		},
	}
	server := os.Getenv("KOHORTA_SERVER")
	if server == "" {
		server = "127.0.0.1:7600"
	}
	root.PersistentFlags().StringVar(&o.server, "server", server, "address of the service (environment: KOHORTA_SERVER)")
	root.PersistentFlags().StringVarP(&o.output, "output", "o", "text", "text, or json for scripts")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there

	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "ask", Title: "Ask a running service:"},
	)
	for _, command := range []*cobra.Command{newServe(), newDemo(), newSandbox(), newRebuild()} {
		command.GroupID = "run"
		root.AddCommand(command)
	}
	for _, command := range []*cobra.Command{
		newImport(&o), newApply(&o), newModel(&o), newSegment(&o), newDestination(&o), newAudience(&o), newLookalike(&o), newSync(&o),
		newWebhook(&o), newUser(&o), newRun(&o), newAudit(&o),
	} {
		command.GroupID = "ask"
		root.AddCommand(command)
	}
	root.Args = cobra.ArbitraryArgs // cobra's own check would not say what there is
	strict(root)
	return root
}

// strict makes a command and all commands under it fail on wrong arguments, and say the right ones.
func strict(command *cobra.Command) {
	switch check := command.Args; {
	case command.HasSubCommands():
		command.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return fmt.Errorf("%s: unknown command %q; use one of %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
		}
	case check != nil:
		command.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) != nil {
				return fmt.Errorf("%s: wrong number of arguments; usage: %s", cmd.CommandPath(), cmd.UseLine())
			}
			return nil
		}
	}
	for _, under := range command.Commands() {
		strict(under)
	}
}
