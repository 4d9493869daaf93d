package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// columns are the fields that "list" shows of each kind, and which of them are numbers.
var columns = map[string]struct {
	fields []string
	right  []int
}{
	"model":       {fields: []string{"name", "title", "version", "update_time", "next_train_time"}, right: []int{2}},
	"segment":     {fields: []string{"name", "title", "member_count", "expression"}, right: []int{2}},
	"destination": {fields: []string{"name", "title", "platform", "account", "state", "remedy"}},
	"audience":    {fields: []string{"name", "segment", "destination", "platform_id", "next_sync_time"}},
	"lookalike":   {fields: []string{"name", "source", "ratio", "size", "platform_id"}},
	"webhook":     {fields: []string{"name", "url", "status.state", "status.lag", "status.last_success_time", "status.dead_letter_count", "status.last_error", "status.remedy"}, right: []int{3, 5}},
}

// newResource is the command of a kind: list, get, delete, and what else the kind can do.
func newResource(o *options, k kind, short string, more ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: k.singular, Short: short, Aliases: []string{k.plural}}
	command.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List all " + k.plural, Args: cobra.NoArgs,
			Example: "  kohorta " + k.singular + " list",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					list, err := k.all(ctx, c.conn)
					if err != nil {
						return err
					}
					return k.print(newPrinter(cmd.OutOrStdout(), o), list)
				})
			},
		},
		&cobra.Command{
			Use: "get ID", Short: "Show one " + k.singular, Args: cobra.ExactArgs(1), ValidArgsFunction: k.complete(o),
			Example: "  kohorta " + k.singular + " get " + example[k.singular],
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					m, err := k.get(ctx, c.conn, k.name(args[0]))
					if err != nil {
						return err
					}
					return newPrinter(cmd.OutOrStdout(), o).message(m)
				})
			},
		},
		&cobra.Command{
			Use: "delete ID", Short: "Delete " + k.article + " " + k.singular + " that nothing uses", Args: cobra.ExactArgs(1), ValidArgsFunction: k.complete(o),
			Example: "  kohorta " + k.singular + " delete " + example[k.singular],
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					if err := k.delete(ctx, c.conn, k.name(args[0])); err != nil {
						return err
					}
					return newPrinter(cmd.OutOrStdout(), o).done(map[string]string{"deleted": k.name(args[0])}, k.name(args[0])+" deleted")
				})
			},
		},
	)
	command.AddCommand(more...)
	return command
}

// example is an id of each kind, as in examples/.
var example = map[string]string{"model": "rfm", "segment": "champions", "destination": "meta", "audience": "champions-meta", "lookalike": "champions-like", "webhook": "crm"}

// name takes an id or a resource name.
func (k kind) name(id string) string { return k.plural + "/" + strings.TrimPrefix(id, k.plural+"/") }

// complete suggests the ids there are.
func (k kind) complete(o *options) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var ids []cobra.Completion
		if len(args) == 0 {
			_ = ask(cmd.Context(), o, func(ctx context.Context, c *client) error { // without a service there is nothing to suggest
				list, err := k.all(ctx, c.conn)
				for _, m := range list {
					ids = append(ids, strings.TrimPrefix(nameOf(m), k.plural+"/"))
				}
				return err
			})
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func (k kind) print(p *printer, list []proto.Message) error {
	if p.json {
		return p.messages(list)
	}
	if len(list) == 0 {
		return p.done(nil, fmt.Sprintf("there are no %s yet: kohorta apply -f examples/%s", k.plural, k.file))
	}
	shown := columns[k.singular]
	rows := make([][]string, len(list))
	for i, m := range list {
		for _, field := range shown.fields {
			text := strings.TrimPrefix(cell(m, field), k.plural+"/")
			if segment, isSegment := m.(*audiencev1.Segment); isSegment && field == "member_count" {
				text = memberCount(segment)
			}
			rows[i] = append(rows[i], text)
		}
	}
	headers := make([]string, len(shown.fields))
	for i, field := range shown.fields {
		headers[i] = strings.ReplaceAll(field[strings.LastIndex(field, ".")+1:], "_", " ")
	}
	p.table(headers, rows, shown.right...)
	return nil
}

// memberCount is how many members a segment has, and by which version where that is not the newest, whose expression is shown.
func memberCount(segment *audiencev1.Segment) string {
	switch {
	case segment.MemberCount == nil && segment.GetDisabled():
		return "disabled"
	case segment.MemberCount == nil:
		return "not evaluated yet"
	case segment.GetInForceVersion() < segment.GetVersion():
		return fmt.Sprintf("%s by version %d of %d", thousands(segment.GetMemberCount()), segment.GetInForceVersion(), segment.GetVersion())
	}
	return thousands(segment.GetMemberCount())
}
