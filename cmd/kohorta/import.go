package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/tabular"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// importBatch is how many events a message carries; importAhead how many may wait for their acknowledgement.
const (
	importBatch = 5_000
	importAhead = 50_000
)

func newImport(o *options) *cobra.Command {
	var preset, mappingFile, where, report string
	var set []string
	var dryRun bool
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Import events from CSV or NDJSON, gzip or not",
		Long: `Reads a file of rows and sends them as events. A mapping says which column, or which expression over the columns, is which field
of an event: a preset or a YAML file, and --set for single fields. Invalid rows are refused, counted and, with --report,
listed with their lines; the rest is imported. A second import of a file adds nothing. FILE may be - for standard input.`,
		Example: `  kohorta import orders.csv --preset superstore
  kohorta import orders.ndjson.gz --set user=customer.id --set event_id=id --set time=created_at --set value=total
  kohorta import orders.csv --preset superstore --where 'row["State"] == "Texas"' --dry-run --report refused.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mapping, err := mappingOf(preset, mappingFile, set)
			if err != nil {
				return err
			}
			if where != "" {
				mapping.Where = where
			}
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				result, err := importFile(ctx, c, args[0], mapping, dryRun, newByteProgress(cmd.ErrOrStderr()))
				if result == nil {
					return err
				}
				if report != "" {
					err = errors.Join(err, result.report(report))
				}
				return errors.Join(err, newPrinter(cmd.OutOrStdout(), o).imported(result, report, dryRun))
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&preset, "preset", "", "built-in mapping: "+strings.Join(tabular.Presets(), ", "))
	flags.StringVar(&mappingFile, "mapping", "", "YAML file with a mapping")
	flags.StringArrayVar(&set, "set", nil, "FIELD=COLUMN, or FIELD==EXPRESSION in CEL over row and line; repeat the flag for several")
	flags.StringVar(&where, "where", "", "keep only rows for which this CEL expression is true")
	flags.BoolVar(&dryRun, "dry-run", false, "read and check the file, send nothing")
	flags.StringVar(&report, "report", "", "write refused rows to this CSV file: line, field, reason")
	_ = command.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions(tabular.Presets(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return command
}

// mappingOf is the mapping that the flags give together.
func mappingOf(preset, file string, set []string) (tabular.Mapping, error) {
	var mapping tabular.Mapping
	var err error
	switch {
	case preset != "" && file != "":
		return mapping, errors.New("--preset and --mapping: give one of them, and --set for single fields")
	case preset != "":
		mapping, err = tabular.Preset(preset)
	case file != "":
		if mapping, err = tabular.ReadMapping(file); err != nil {
			err = fmt.Errorf("--mapping %s: %w", file, plainYAML(err))
		}
	}
	if err != nil {
		return mapping, err
	}
	for _, assignment := range set {
		field, source, assigned := strings.Cut(assignment, "=")
		if !assigned {
			return mapping, fmt.Errorf("--set %s: write FIELD=COLUMN, or FIELD==EXPRESSION", assignment)
		}
		if err := mapping.Set(field, source); err != nil {
			return mapping, fmt.Errorf("--set: %w", err)
		}
	}
	return mapping, nil
}

// importFile sends a file's rows as events and returns once all are acknowledged. If the file cannot be read to its end, the
// rows before the fault are sent nevertheless, and the result comes with the error.
func importFile(ctx context.Context, c *client, file string, mapping tabular.Mapping, dryRun bool, bar *progress) (*imported, error) {
	reader, err := tabular.Open(file, mapping)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	defer bar.finish()
	result := &imported{reasons: map[string]int64{}}
	var to sink = rehearsal{result}
	if !dryRun {
		if to, err = newEventStream(ctx, c, result); err != nil {
			return nil, err
		}
	}

	var events []*audiencev1.Event
	var lines []int
	var fault error
	for row, err := range reader.Rows() {
		if err != nil {
			fault = fmt.Errorf("%s: %w; the rest was not read: correct the file and import it again: events already stored count once", filepath.Base(file), err)
			break
		}
		result.Rows++
		switch {
		case row.Skipped:
			result.Skipped++
		case row.Refused != nil:
			result.refuse(row.Line, row.Refused)
		default:
			events, lines = append(events, toProto(row.Event, mapping.Currency)), append(lines, row.Line)
		}
		if len(events) == importBatch {
			if err := to.send(events, lines); err != nil {
				return nil, err
			}
			events, lines = nil, nil
			bar.show("importing "+filepath.Base(file), reader.Progress(), reader.Size)
		}
	}
	if len(events) > 0 {
		if err := to.send(events, lines); err != nil {
			return nil, err
		}
	}
	if err := to.finish(); err != nil {
		return nil, err
	}
	return result, fault
}

func toProto(e audience.Event, currency string) *audiencev1.Event {
	properties := make(map[string]*audiencev1.PropertyValue, len(e.Texts)+len(e.Numbers))
	for name, text := range e.Texts {
		properties[name] = &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Text{Text: text}}
	}
	for name, number := range e.Numbers {
		properties[name] = &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Number{Number: number}}
	}
	return &audiencev1.Event{
		UserId: string(e.User), EventId: e.ID, Type: e.Type, Time: timestamppb.New(e.Time),
		ValueMicros: e.ValueMicros, CurrencyCode: currency, Properties: properties,
	}
}
