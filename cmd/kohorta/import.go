package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	var preset, mappingFile, report string
	var set []string
	var where string
	var dryRun bool
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Import events from CSV or NDJSON, gzip or not",
		Long: `Reads a file of rows and sends them as events. A mapping says which column, or which expression over the columns, is which field
of an event: a preset, a YAML file, and --set for single fields. Rows that are no events are refused, counted and, with
--report, written down with their lines; they stop nothing. A second import of a file adds nothing. FILE may be - for the
standard input.`,
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
	flags.StringVar(&preset, "preset", "", "mapping that comes along: "+strings.Join(tabular.Presets(), ", "))
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

// imported is how an import went, in rows.
type imported struct {
	Rows       int64 `json:"rows"`
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	Skipped    int64 `json:"skipped"`
	Refused    int64 `json:"refused"`

	reasons  map[string]int64 // how often each was refused for what
	refusals []refusal        // the first maxRefusals
}

// refusal is a row that is no event.
type refusal struct {
	line          int
	field, reason string
}

// maxRefusals bounds what is remembered of refused rows; all are counted.
const maxRefusals = 1_000_000

func (i *imported) refuse(line int, err error) {
	i.Refused++
	var invalid *audience.InvalidError
	if !errors.As(err, &invalid) {
		invalid = &audience.InvalidError{Violations: []audience.Violation{{Field: "row", Reason: err.Error()}}}
	}
	for _, v := range invalid.Violations {
		i.reasons[v.Field+": "+v.Reason]++
		if len(i.refusals) < maxRefusals {
			i.refusals = append(i.refusals, refusal{line, v.Field, v.Reason})
		}
	}
}

// report writes the refused rows as CSV, in the order of their lines.
func (i *imported) report(name string) error {
	sort.SliceStable(i.refusals, func(a, b int) bool { return i.refusals[a].line < i.refusals[b].line })
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	w := csv.NewWriter(file)
	err = w.Write([]string{"line", "field", "reason"})
	for _, r := range i.refusals {
		err = errors.Join(err, w.Write([]string{fmt.Sprint(r.line), r.field, r.reason}))
	}
	w.Flush()
	return errors.Join(err, w.Error(), file.Close())
}

func (p *printer) imported(i *imported, report string, dryRun bool) error {
	if p.json {
		return p.document(i)
	}
	verb := "accepted"
	if dryRun {
		verb = "would be sent"
	}
	fmt.Fprintf(p.out, "%s: %s %s, %s duplicates, %s refused, %s left out by the filter\n",
		countOf(i.Rows, "row"), p.bold.Render(thousands(i.Accepted)), verb, thousands(i.Duplicates), thousands(i.Refused), thousands(i.Skipped))
	for _, reason := range i.topReasons(5) {
		fmt.Fprintln(p.out, "  "+reason)
	}
	if i.Refused > 0 && report == "" {
		fmt.Fprintln(p.out, p.dim.Render("  --report refused.csv writes them down with their lines"))
	}
	return nil
}

// topReasons are the commonest reasons of refusals with their counts.
func (i *imported) topReasons(n int) []string {
	reasons := make([]string, 0, len(i.reasons))
	for reason := range i.reasons {
		reasons = append(reasons, reason)
	}
	sort.Slice(reasons, func(a, b int) bool {
		if i.reasons[reasons[a]] != i.reasons[reasons[b]] {
			return i.reasons[reasons[a]] > i.reasons[reasons[b]]
		}
		return reasons[a] < reasons[b]
	})
	for k, reason := range reasons {
		reasons[k] = fmt.Sprintf("%s × %s", thousands(i.reasons[reason]), reason)
	}
	return reasons[:min(n, len(reasons))]
}

// importFile sends a file's rows as events and returns once all are acknowledged. Where the file cannot be read to its end,
// what came before is sent all the same and told beside the error.
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
			fault = fmt.Errorf("%s: %w; the rest was not read: correct the file and import it again: what is there counts once", filepath.Base(file), err)
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

// sink is where an import's events go: batches with the lines they stand on, until finish.
type sink interface {
	send(events []*audiencev1.Event, lines []int) error
	finish() error
}

// rehearsal is the sink of a dry run: it sends nothing.
type rehearsal struct{ result *imported }

func (r rehearsal) send(events []*audiencev1.Event, _ []int) error {
	r.result.Accepted += int64(len(events))
	return nil
}

func (rehearsal) finish() error { return nil }

// eventStream sends batches of events, a bounded number ahead of their acknowledgements.
type eventStream struct {
	stream interface {
		Send(*audiencev1.StreamEventsRequest) error
		Recv() (*audiencev1.StreamEventsResponse, error)
		CloseSend() error
	}
	result       *imported
	lines        []int // of the rows sent, by their number in the stream; unacknowledged ones only
	first        int64 // number of the row lines begins with
	sent         int64
	acknowledged int64
}

func newEventStream(ctx context.Context, c *client, result *imported) (sink, error) {
	stream, err := c.ingest.StreamEvents(ctx)
	if err != nil {
		return nil, err
	}
	return &eventStream{stream: stream, result: result}, nil
}

func (s *eventStream) send(events []*audiencev1.Event, lines []int) error {
	if err := s.stream.Send(&audiencev1.StreamEventsRequest{Events: events}); err != nil {
		if errors.Is(err, io.EOF) { // the service has ended the stream: the reason comes with Recv
			_, err = s.stream.Recv()
		}
		return s.broken(err)
	}
	s.lines = append(s.lines, lines...)
	s.sent += int64(len(events))
	for s.sent-s.acknowledged > importAhead {
		if err := s.receive(); err != nil {
			return err
		}
	}
	return nil
}

// receive takes one acknowledgement.
func (s *eventStream) receive() error {
	r, err := s.stream.Recv()
	if err != nil {
		return s.broken(err)
	}
	for _, refused := range r.GetRefused() {
		var v audience.Violations
		for _, violation := range refused.GetViolations() {
			v.Add(violation.GetField(), "%s", violation.GetDescription())
		}
		s.result.refuse(s.lines[refused.GetRow()-s.first], v.Err())
	}
	s.result.Accepted += int64(r.GetAcceptedCount())
	s.result.Duplicates += int64(r.GetDuplicateCount())
	s.lines = s.lines[r.GetAcknowledgedRows()-s.acknowledged:]
	s.acknowledged = r.GetAcknowledgedRows()
	s.first = s.acknowledged
	return nil
}

// finish waits until everything sent is acknowledged.
func (s *eventStream) finish() error {
	if err := s.stream.CloseSend(); err != nil {
		return s.broken(err)
	}
	for s.acknowledged < s.sent {
		if err := s.receive(); err != nil {
			return err
		}
	}
	return nil
}

// broken says what to do where the service, or the way to it, went away in the middle; other errors stay as they are.
func (s *eventStream) broken(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable {
		return fmt.Errorf("the service went away with %s of %s rows acknowledged: when it is back, import the file again: what is there counts once",
			thousands(s.acknowledged), thousands(s.sent))
	}
	return err
}
