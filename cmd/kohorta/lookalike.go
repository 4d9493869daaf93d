package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// lookalikes are a kind that files do not describe: they cannot be changed.
var lookalikes = kind{"lookalikes", "lookalike", "Lookalike", audiencev1.AudienceService_ServiceDesc.ServiceName, "a", "audiences.yaml"}

func newLookalike(o *options) *cobra.Command {
	return newResource(o, lookalikes, "Lookalikes: audiences that platforms make of people like those of yours", newLookalikeCreate(o))
}

func newLookalikeCreate(o *options) *cobra.Command {
	l := &audiencev1.Lookalike{}
	var size, system string
	command := &cobra.Command{
		Use: "create ID AUDIENCE", Short: "Have the platform of a synced audience make a lookalike of it", Args: cobra.ExactArgs(2),
		Example: "  kohorta lookalike create champions-like champions-meta --place PL --ratio 0.01\n" +
			"  kohorta lookalike create champions-like champions-tiktok --place 798544 --size balanced",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				l.Source = audiences.name(args[1])
				var err error
				if l.Size, err = choice[audiencev1.Lookalike_Size]("size", "SIZE_", audiencev1.Lookalike_Size_value, size); err != nil {
					return err
				}
				if l.MobileOs, err = choice[audiencev1.Lookalike_MobileOs]("mobile-os", "MOBILE_OS_", audiencev1.Lookalike_MobileOs_value, system); err != nil {
					return err
				}
				r, err := c.audiences.CreateLookalike(ctx, &audiencev1.CreateLookalikeRequest{LookalikeId: args[0], Lookalike: l})
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					return p.message(r.GetLookalike())
				}
				return p.done(nil, fmt.Sprintf("%s made, %s on the platform, which takes hours to fill it: kohorta lookalike get %s",
					r.GetLookalike().GetName(), r.GetLookalike().GetPlatformId(), args[0]))
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&l.PlatformName, "platform-name", "", "name on the platform; default the id")
	flags.StringSliceVar(&l.Places, "place", nil, "Meta: country such as PL; TikTok: location id")
	flags.Float64Var(&l.Ratio, "ratio", 0, "Meta: share of the country's people, 0.01 to 0.2")
	flags.Float64Var(&l.StartingRatio, "starting-ratio", 0, "Meta: without the most similar share")
	flags.StringVar(&size, "size", "", "TikTok: narrow, balanced or broad")
	flags.StringVar(&system, "mobile-os", "", "TikTok: all, android or ios")
	flags.StringSliceVar(&l.Placements, "placement", nil, "TikTok: TikTok, Pangle …")
	flags.BoolVar(&l.IncludeSource, "include-source", false, "TikTok: the people of the audience are in it, too")
	return command
}

// choice is the enum value of a word; none for "".
func choice[E ~int32](flag, prefix string, values map[string]int32, word string) (E, error) {
	value, known := values[prefix+strings.ToUpper(word)]
	if word == "" {
		return 0, nil
	}
	if !known || value == 0 {
		return 0, fmt.Errorf("--%s: there is no %q; see --help", flag, word)
	}
	return E(value), nil
}
