package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
)

// stage is where the demo is shown.
type stage struct {
	*printer
	progress io.Writer // progress bars

	steps []timed
	began time.Time // of the step under way
}

type timed struct {
	title string
	took  time.Duration
}

func newStage(out, progress io.Writer) *stage {
	if !isTerminal(progress) {
		progress = io.Discard // the lines that stand in for a bar would repeat the demo's own
	}
	return &stage{printer: newPrinter(out, &options{output: "text"}), progress: progress}
}

func (s *stage) title(text string) {
	fmt.Fprintln(s.out, s.bold.Render(text))
}

// step begins the next step.
func (s *stage) step(title string) {
	s.endStep()
	s.steps = append(s.steps, timed{title: title})
	s.began = time.Now()
	fmt.Fprintf(s.out, "\n%s %s\n", s.bold.Render(fmt.Sprintf("%2d", len(s.steps))), s.bold.Render(title))
}

func (s *stage) endStep() {
	if len(s.steps) > 0 && s.steps[len(s.steps)-1].took == 0 {
		s.steps[len(s.steps)-1].took = time.Since(s.began)
	}
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "   "+format+"\n", args...)
}

// notes shows what a training found out.
func (s *stage) notes(notes []string) {
	const most = 4
	for i, note := range notes {
		if i == most && len(notes) > most+1 {
			s.say("%s", s.dim.Render(fmt.Sprintf("… %d more with: kohorta run list, kohorta run get RUN", len(notes)-most)))
			return
		}
		s.say("%s", s.dim.Render(note))
	}
}

// table shows a table, indented.
func (s *stage) table(headers []string, rows [][]string, right ...int) {
	var b strings.Builder
	inner := *s.printer
	inner.out = &b
	inner.table(headers, rows, right...)
	for line := range strings.Lines(b.String()) {
		fmt.Fprint(s.out, "   "+line)
	}
}

// heat shows counts by two scores from 1 to 5, the more the fuller.
func (s *stage) heat(grid [6][6]int) {
	most := 1
	for _, row := range grid {
		for _, n := range row {
			most = max(most, n)
		}
	}
	shades := []string{" ", "░", "▒", "▓", "█"}
	for r := 5; r >= 1; r-- {
		line := fmt.Sprintf("R%d ", r)
		for f := 1; f <= 5; f++ {
			shade := shades[min(len(shades)-1, (grid[r][f]*len(shades))/(most+1))]
			line += lipgloss.NewStyle().Width(9).Render(fmt.Sprintf("%s%5d ", strings.Repeat(shade, 2), grid[r][f]))
		}
		s.say("%s", line)
	}
	s.say("   %s", strings.TrimRight(fmt.Sprintf("  %6s   %6s   %6s   %6s   %6s", "F1", "F2", "F3", "F4", "F5"), " "))
}

// times shows how long each step took.
func (s *stage) times(total time.Duration) {
	s.endStep()
	fmt.Fprintf(s.out, "\n%s\n", s.bold.Render("Time"))
	rows := make([][]string, 0, len(s.steps)+1)
	for i, step := range s.steps {
		rows = append(rows, []string{fmt.Sprint(i + 1), step.title, fmt.Sprintf("%.1f s", step.took.Seconds())})
	}
	s.table([]string{"", "step", ""}, append(rows, []string{"", "all", fmt.Sprintf("%.1f s", total.Seconds())}), 0, 2)
}

// explore says how to look around in the demo's data.
func (s *stage) explore(dir string) {
	fmt.Fprintf(s.out, "\n%s nothing is left running; the data is in %s\n", s.bold.Render("Explore:"), dir)
	for _, line := range []string{
		"bin/kohorta serve --config " + filepath.Join(dir, demoMark),
		"bin/kohorta segment list",
		"bin/kohorta segment preview 'rfm.r >= 4 && count(\"purchase\", \"all\") >= 10'",
		`go tool -modfile=internal/tools/go.mod grpcurl -plaintext -d '{"name":"segments/champions"}' \`,
		"  " + demoAddress + " audience.v1.SegmentService/ListMembers",
	} {
		s.say("%s", line)
	}
}
