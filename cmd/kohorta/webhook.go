package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newWebhook(o *options) *cobra.Command {
	return newResource(o, webhooks, "Webhooks: receivers that are told who enters and leaves", newDeadLetters(o), newRedeliver(o), newDropDeadLetters(o))
}

func newDeadLetters(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "dead-letters ID", Short: "List the changes that a receiver did not accept", Args: cobra.ExactArgs(1), ValidArgsFunction: webhooks.complete(o),
		Example: "  kohorta webhook dead-letters crm",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				var letters []proto.Message
				for request := (&audiencev1.ListDeadLettersRequest{Parent: webhooks.name(args[0]), PageSize: listPage}); ; {
					r, err := c.webhooks.ListDeadLetters(ctx, request)
					if err != nil {
						return err
					}
					for _, letter := range r.GetDeadLetters() {
						letters = append(letters, letter)
					}
					if request.PageToken = r.GetNextPageToken(); request.PageToken == "" {
						return newPrinter(cmd.OutOrStdout(), o).deadLetters(letters)
					}
				}
			})
		},
	}
}

func (p *printer) deadLetters(letters []proto.Message) error {
	if p.json {
		return p.messages(letters)
	}
	if len(letters) == 0 {
		return p.done(nil, "there are no dead letters: the receiver has accepted all it was told")
	}
	fields := []string{"id", "time", "reason", "change"}
	rows := make([][]string, len(letters))
	for i, letter := range letters {
		for _, field := range fields {
			rows[i] = append(rows[i], cell(letter, field))
		}
	}
	p.table(fields, rows)
	return nil
}

func newRedeliver(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "redeliver ID [DEAD-LETTER …]", Short: "Send dead letters once more, all or those named", Args: cobra.MinimumNArgs(1), ValidArgsFunction: webhooks.complete(o),
		Example: "  kohorta webhook redeliver crm\n  kohorta webhook redeliver crm 0c3f7d2a9b1e4f5a8c6d7e8f9a0b1c2d",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				sum := &audiencev1.RedeliverDeadLettersResponse{}
				for {
					r, err := c.webhooks.RedeliverDeadLetters(ctx, &audiencev1.RedeliverDeadLettersRequest{Parent: webhooks.name(args[0]), Ids: args[1:]})
					if err != nil {
						return err
					}
					sum.DeliveredCount, sum.RemainingCount, sum.Error = sum.GetDeliveredCount()+r.GetDeliveredCount(), r.GetRemainingCount(), r.GetError()
					if r.GetDeliveredCount() == 0 || sum.GetRemainingCount() == 0 || len(args) > 1 {
						return newPrinter(cmd.OutOrStdout(), o).redelivered(sum)
					}
				}
			})
		},
	}
}

// redelivered says how many dead letters are left. A receiver that has not accepted all is an error.
func (p *printer) redelivered(r *audiencev1.RedeliverDeadLettersResponse) error {
	var err error
	if p.json {
		err = p.message(r)
	} else {
		err = p.done(nil, fmt.Sprintf("%s delivered, %s left", countOf(r.GetDeliveredCount(), "dead letter"), thousands(r.GetRemainingCount())))
	}
	if r.GetError() != "" {
		err = errors.Join(err, errors.New("the receiver did not accept all: "+r.GetError()))
	}
	return err
}

func newDropDeadLetters(o *options) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use: "drop ID [DEAD-LETTER …]", Short: "Forget dead letters", Args: cobra.MinimumNArgs(1), ValidArgsFunction: webhooks.complete(o),
		Example: "  kohorta webhook drop crm --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				r, err := c.webhooks.DropDeadLetters(ctx, &audiencev1.DropDeadLettersRequest{Parent: webhooks.name(args[0]), Ids: args[1:], All: all})
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if p.json {
					return p.message(r)
				}
				return p.done(nil, countOf(r.GetDroppedCount(), "dead letter")+" dropped")
			})
		},
	}
	command.Flags().BoolVar(&all, "all", false, "all of them")
	return command
}
