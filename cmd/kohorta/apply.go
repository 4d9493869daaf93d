package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newApply(o *options) *cobra.Command {
	var files []string
	var yes, prune bool
	command := &cobra.Command{
		Use:   "apply -f FILE …",
		Short: "Make models, segments, destinations, audiences and webhooks what files say, after showing the plan",
		Long: `Reads YAML files with the lists models, segments, destinations, audiences and webhooks, compares them with the service, shows
what would be created, changed and deleted, and does it when you agree. A field that a file does not name stays as it is. Without --prune,
nothing is deleted; with it, what there is of a kind that has a list and is not in it: an empty list, as in "audiences: []", deletes all
of them.`,
		Example: `  kohorta apply -f examples/models.yaml -f examples/segments.yaml
  kohorta apply -f segments.yaml --yes --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				wanted, err := readResources(os.ReadFile, files)
				if err != nil {
					return err
				}
				steps, err := planApply(ctx, c, wanted, prune)
				if err != nil {
					return err
				}
				p := newPrinter(cmd.OutOrStdout(), o)
				if len(steps) == 0 {
					return p.done(map[string]any{"steps": []any{}}, "nothing to do: the service is as the files say")
				}
				p.plan(steps)
				if !yes {
					agreed, err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr())
					if err != nil || !agreed {
						return err
					}
				}
				return p.applied(steps, doApply(ctx, steps))
			})
		},
	}
	command.Flags().StringArrayVarP(&files, "file", "f", nil, "YAML file; repeat the flag for several")
	command.Flags().BoolVar(&yes, "yes", false, "do not ask before acting")
	command.Flags().BoolVar(&prune, "prune", false, "delete what the files do not name, of the kinds they have lists of")
	_ = command.MarkFlagRequired("file") // the flag is there
	return command
}

// confirm asks on a terminal; elsewhere --yes must say so.
func confirm(in io.Reader, out io.Writer) (bool, error) {
	if file, isFile := in.(*os.File); !isFile || !term.IsTerminal(int(file.Fd())) {
		return false, errors.New("this is no terminal to ask on: add --yes to act")
	}
	fmt.Fprint(out, "\nApply? [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.EqualFold(strings.TrimSpace(answer), "y"), nil
}

// step is one thing to do to one resource.
type step struct {
	Action string // "create", "change" or "delete"
	Name   string
	Fields []string // that a change touches
	Effect string   // on members, of a segment that gets another definition
	do     func(context.Context) error
}

// planApply compares what is wanted with what there is. Steps stand in the order in which they can be done.
func planApply(ctx context.Context, c *client, wanted map[string][]resource, prune bool) ([]step, error) {
	var steps, deletions []step
	for _, kind := range kinds {
		list, named := wanted[kind.plural]
		if !named {
			continue
		}
		existing, err := kind.all(ctx, c.conn)
		if err != nil {
			return nil, err
		}
		current := map[string]proto.Message{}
		for _, m := range existing {
			current[nameOf(m)] = m
		}
		for _, r := range list {
			name := kind.plural + "/" + r.id
			existing, exists := current[name]
			delete(current, name)
			switch fields := r.changes(existing); {
			case !exists:
				steps = append(steps, step{Action: "create", Name: name, do: func(ctx context.Context) error { return kind.create(ctx, c.conn, r) }})
			case len(fields) > 0:
				s := step{Action: "change", Name: name, Fields: fields, do: func(ctx context.Context) error { return kind.update(ctx, c.conn, r, fields) }}
				if segment, isSegment := existing.(*audiencev1.Segment); isSegment {
					s.Effect = effect(ctx, c, segment, r.message.(*audiencev1.Segment), fields)
				}
				steps = append(steps, s)
			}
		}
		if !prune {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(current)) {
			deletions = append(deletions, step{Action: "delete", Name: name, do: func(ctx context.Context) error { return kind.delete(ctx, c.conn, name) }})
		}
	}
	slices.Reverse(deletions) // audiences before the segments they use
	return append(steps, deletions...), nil
}

// effect says how many would enter and leave a segment by the definition that changed fields give it. It is not known when the
// definition refers to what is yet to be created, and "" when there is none.
func effect(ctx context.Context, c *client, is, wanted *audiencev1.Segment, fields []string) string {
	definition := &audiencev1.Segment{Expression: is.GetExpression(), Group: is.GetGroup(), Priority: is.GetPriority()}
	changed := false
	for _, field := range fields {
		switch field {
		case "expression":
			definition.Expression, changed = wanted.GetExpression(), true
		case "group":
			definition.Group, changed = wanted.GetGroup(), true
		case "priority":
			definition.Priority, changed = wanted.GetPriority(), true
		}
	}
	if !changed || is.InForceVersion == nil {
		return ""
	}
	r, err := c.segments.CompareSegment(ctx, &audiencev1.CompareSegmentRequest{Name: is.GetName(), Segment: definition})
	if err != nil {
		return "not known before it is applied"
	}
	var effects []string
	for i, s := range r.GetSegments() {
		if s.GetEnteringCount()+s.GetLeavingCount() > 0 || i == 0 {
			of := ""
			if i > 0 {
				of = " of " + strings.TrimPrefix(s.GetName(), "segments/")
			}
			effects = append(effects, fmt.Sprintf("%s enter, %s leave%s", thousands(s.GetEnteringCount()), thousands(s.GetLeavingCount()), of))
		}
	}
	return strings.Join(effects, "; ")
}

// doApply does the steps. One that fails is tried again after the others, as long as that gets any further: a segment may
// refer to one that stands below it.
func doApply(ctx context.Context, steps []step) error {
	for left := steps; len(left) > 0; {
		var failed []step
		var errs error
		for _, s := range left {
			if err := s.do(ctx); err != nil {
				failed = append(failed, s)
				errs = errors.Join(errs, fmt.Errorf("%s %s: %w", s.Action, s.Name, err))
			}
		}
		if len(failed) == len(left) {
			return errs
		}
		left = failed
	}
	return nil
}
