package main

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
)

// imported counts what became of the rows of an import.
type imported struct {
	Rows       int64 `json:"rows"`
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	Skipped    int64 `json:"skipped"`
	Refused    int64 `json:"refused"`

	reasons  map[string]int64 // how often rows were refused for each reason
	refusals []refusal        // the first maxRefusals
}

// refusal is a row that is no event.
type refusal struct {
	line          int
	field, reason string
}

// maxRefusals bounds the refusals that are remembered; all are counted.
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
	slices.SortStableFunc(i.refusals, func(a, b refusal) int { return cmp.Compare(a.line, b.line) })
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
		fmt.Fprintln(p.out, p.dim.Render("  --report refused.csv lists them with their lines"))
	}
	return nil
}

// topReasons are the n most frequent reasons of refusals, with their counts.
func (i *imported) topReasons(n int) []string {
	reasons := slices.SortedFunc(maps.Keys(i.reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(i.reasons[b], i.reasons[a]), cmp.Compare(a, b))
	})
	reasons = reasons[:min(n, len(reasons))]
	for k, reason := range reasons {
		reasons[k] = fmt.Sprintf("%s × %s", thousands(i.reasons[reason]), reason)
	}
	return reasons
}
