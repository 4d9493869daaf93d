package main

import (
	"cmp"
	"context"
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

// watch follows a run to its end, with a bar on a terminal and a line per stage elsewhere. A run that failed is an error.
func (c *client) watch(ctx context.Context, progress io.Writer, name string) (*audiencev1.Run, error) {
	bar := newProgress(progress)
	defer bar.finish()
	var run *audiencev1.Run
	for response, err := range received(c.runs.WatchRun(ctx, &audiencev1.WatchRunRequest{Name: name})) {
		if err != nil {
			return run, err
		}
		run = response.GetRun()
		bar.show(run.GetStage(), run.GetDoneUnits(), run.GetTotalUnits())
	}
	if run.GetState() == audiencev1.Run_STATE_FAILED {
		return run, fmt.Errorf("%s failed: %s", run.GetName(), plain(run.GetError()))
	}
	if run.GetState() == audiencev1.Run_STATE_INTERRUPTED {
		return run, fmt.Errorf("%s was interrupted (%s); syncs and trainings resume by themselves: see kohorta run list", run.GetName(), plain(run.GetError()))
	}
	return run, nil
}

// progress is a bar on a terminal, and a line per stage elsewhere.
type progress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil elsewhere
	stage string
}

// newProgress counts units.
func newProgress(out io.Writer) *progress {
	return newBar(out, isTerminal(out), progressbar.OptionShowCount())
}

// newByteProgress counts bytes.
func newByteProgress(out io.Writer) *progress {
	return newBar(out, isTerminal(out), progressbar.OptionShowBytes(true), progressbar.OptionShowCount())
}

// stageWidth and barWidth leave room for the figures on a terminal of 80 columns. A longer line would wrap, and each update
// would start a new one.
const stageWidth, barWidth = 28, 12

func newBar(out io.Writer, terminal bool, unit ...progressbar.Option) *progress {
	p := &progress{out: out}
	if terminal {
		p.bar = progressbar.NewOptions64(1, append(unit, progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetRenderBlankState(false), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))...)
	}
	return p
}

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// clearLine empties the line of a terminal.
const clearLine = "\r\x1b[K"

func (p *progress) show(stage string, done, total int64) {
	switch {
	case stage == "":
	case p.bar == nil:
		if stage != p.stage {
			fmt.Fprintln(p.out, stage)
		}
	case total <= 0 || strings.HasPrefix(stage, "waiting for "): // shown in full: until when, and why
		fmt.Fprint(p.out, clearLine, shorten(stage, 2*stageWidth), " …")
	default:
		if stage != p.stage && p.stage != "" {
			fmt.Fprint(p.out, clearLine)
			p.bar.Reset()
		}
		p.bar.ChangeMax64(total)
		p.bar.Describe(shorten(stage, stageWidth))
		_ = p.bar.Set64(min(done, total-1)) // a bar that cannot be drawn spoils nothing; a full one would end
	}
	p.stage = stage
}

func (p *progress) finish() {
	if p.bar != nil {
		fmt.Fprint(p.out, clearLine)
	}
}

// shorten cuts a text to a number of characters.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// run shows how a run ended, and how to go on with a sync that waits for approval.
func (p *printer) run(run *audiencev1.Run, waits bool) error {
	if p.json {
		return p.message(run)
	}
	took := ""
	if run.GetEndTime() != nil {
		took = fmt.Sprintf(" in %.1f s", run.GetEndTime().AsTime().Sub(run.GetCreateTime().AsTime()).Seconds())
	}
	fmt.Fprintf(p.out, "%s of %s: %s%s\n", kindInWords(run), run.GetSubject(), p.bold.Render(cell(run, "state")), took)
	for _, line := range append(run.GetNotes(), countsInWords(run.GetCounts())...) {
		fmt.Fprintln(p.out, "  "+line)
	}
	if run.GetError() != "" {
		fmt.Fprintln(p.out, "  error: "+plain(run.GetError()))
	}
	if run.GetState() == audiencev1.Run_STATE_HELD {
		next := "it no longer waits: it was approved or dropped, has expired, or a later sync has taken its place"
		if waits {
			next = "to send it anyway: kohorta sync approve " + strings.TrimPrefix(run.GetName(), "runs/")
		}
		fmt.Fprintf(p.out, "  nothing was sent; %s\n", next)
	}
	fmt.Fprintln(p.out, p.dim.Render("  "+run.GetName()))
	return nil
}

// kindInWords is what a run is: "training".
func kindInWords(run *audiencev1.Run) string {
	switch kind := cell(run, "kind"); kind {
	case "train":
		return "training"
	case "evaluate":
		return "evaluation"
	default:
		return kind
	}
}

// countsInWords is a run's counts on a few lines, without zeros: first those that stand alone ("users 793, version 2"), then
// each group ("additions.planned", "entered/champions") on its own line ("entered: 42 champions"). Within a line, what was
// planned comes first, then the larger.
func countsInWords(counts map[string]int64) []string {
	unplanned := func(name string) int {
		if strings.HasSuffix(name, ".planned") {
			return 0
		}
		return 1
	}
	groups := map[string][]string{}
	for _, name := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(unplanned(a), unplanned(b)), cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		if counts[name] == 0 {
			continue
		}
		number := thousands(counts[name])
		if i := strings.IndexAny(name, "./"); i >= 0 {
			groups[name[:i]] = append(groups[name[:i]], number+" "+strings.ReplaceAll(name[i+1:], "_", " "))
		} else {
			groups[""] = append(groups[""], name+" "+number)
		}
	}
	if len(groups) == 0 && len(counts) > 0 {
		return []string{"nothing changed"}
	}
	var lines []string
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		lines = append(lines, strings.TrimPrefix(group+": "+strings.Join(groups[group], ", "), ": "))
	}
	return lines
}
