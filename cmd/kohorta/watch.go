package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// watch follows a run to its end: a progress line on a terminal, a line a stage elsewhere. A run that failed is an error.
func (c *client) watch(ctx context.Context, progress io.Writer, name string) (*audiencev1.Run, error) {
	stream, err := c.runs.WatchRun(ctx, &audiencev1.WatchRunRequest{Name: name})
	if err != nil {
		return nil, err
	}
	bar := newProgress(progress, "")
	defer bar.finish()
	var run *audiencev1.Run
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return run, err
		}
		run = response.GetRun()
		bar.show(run.GetStage(), run.GetDoneUnits(), run.GetTotalUnits())
	}
	if run.GetState() == audiencev1.Run_STATE_FAILED {
		return run, fmt.Errorf("%s failed: %s", run.GetName(), run.GetError())
	}
	return run, nil
}

// progress is a bar on a terminal, and a line a stage elsewhere.
type progress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil elsewhere
	stage string
}

func newProgress(out io.Writer, stage string) *progress {
	p := &progress{out: out}
	if file, isFile := out.(*os.File); isFile && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(stage),
			progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true))
	}
	return p
}

func (p *progress) show(stage string, done, total int64) {
	if p.bar == nil {
		if stage != p.stage && stage != "" {
			fmt.Fprintln(p.out, stage)
		}
		p.stage = stage
		return
	}
	if total > 0 {
		p.bar.ChangeMax64(total)
	}
	p.bar.Describe(stage)
	_ = p.bar.Set64(done) // a bar that cannot be drawn spoils nothing
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// run shows how a run ended.
func (p *printer) run(run *audiencev1.Run) error {
	if p.json {
		return p.message(run)
	}
	state := cell(run, "state")
	took := ""
	if run.GetEndTime() != nil {
		took = fmt.Sprintf(" in %.1f s", run.GetEndTime().AsTime().Sub(run.GetCreateTime().AsTime()).Seconds())
	}
	fmt.Fprintf(p.out, "%s: %s %s%s\n", run.GetName(), cell(run, "kind"), p.bold.Render(state), took)
	for _, note := range run.GetNotes() {
		fmt.Fprintln(p.out, "  "+note)
	}
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(run.GetCounts())) {
		counts = append(counts, fmt.Sprintf("%s %s", name, thousands(run.GetCounts()[name])))
	}
	if len(counts) > 0 {
		fmt.Fprintln(p.out, "  "+strings.Join(counts, " · "))
	}
	if run.GetState() == audiencev1.Run_STATE_HELD {
		fmt.Fprintf(p.out, "  nothing was sent; to send it all the same: kohorta sync approve %s\n", strings.TrimPrefix(run.GetName(), "runs/"))
	}
	return nil
}
