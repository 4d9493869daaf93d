package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kohorta/kohorta/sync/sandbox"
)

func newSandbox() *cobra.Command {
	var listen string
	var quotasOff bool
	command := &cobra.Command{
		Use:   "sandbox",
		Short: "Run stand-ins of both platforms",
		Long: `Runs stateful stand-ins of Meta's and TikTok's audience APIs on loopback, with their validation, quotas, and faults on demand.
sync/sandbox/README.md shows what they answer to. Destinations reach them by their base_url.`,
		Example: "  kohorta sandbox\n  curl -s 127.0.0.1:7601/admin/meta/audiences",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(cmd.OutOrStdout(), "Meta and TikTok stand-ins on http://%s, state under /admin/\n", listen)
			fmt.Fprintf(cmd.OutOrStdout(), "Meta: account %s, token %s\nTikTok: advertiser %s, token %s\n",
				sandbox.DemoMetaAccount, sandbox.DemoMetaToken, sandbox.DemoTikTokAdvertiser, sandbox.DemoTikTokToken)
			return sandbox.New(sandbox.Config{QuotasOff: quotasOff}).ListenAndServe(cmd.Context(), listen)
		},
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:7601", "loopback address")
	command.Flags().BoolVar(&quotasOff, "no-quotas", false, "answer any number of requests")
	return command
}
