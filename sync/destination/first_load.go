package destination

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// Way is how a large load reaches an audience.
type Way string

// The ways.
const (
	ByDiff    Way = "diff"    // adds and removals, batch by batch
	ByReplace Way = "replace" // a Replacer rebuilds the audience
	ByFile    Way = "file"    // a Bulk takes files
)

// Load is what a load has to bring about, in rows of requests: where a row carries one identifier, these are counted.
type Load struct {
	Rows      int64 // of the whole target
	Additions int64 // that a diff would add
	Removals  int64 // that a diff would remove; half of a change is each
	Requests  int64 // of a diff, where they are known; 0: as many as the rows fill
	Held      int64 // that the platform holds or may hold now
	Static    bool  // the audience gets no diffs later, so nobody must be able to leave it at once
	Files     bool  // the audience is made of files, so nothing else changes it
}

// Choice is the way for a load, with the figures that decide.
type Choice struct {
	Way      Way
	Requests int64
	Duration time.Duration // of sending, at the pace of Limits; what the platform does afterwards is its own
	Reason   string
}

const (
	// replaceShare is how much of its time a replace may be expected to take: a throttled one that runs out of time has
	// emptied the audience first.
	replaceShare = 0.5
	// worthReplace is the size from which a replace pays: for minutes, perhaps for long, the audience is not whole.
	worthReplace = 100_000
	// worthFiles is the size from which files pay at a platform that takes rows at the pace of a diff, too.
	worthFiles = 1_000_000
	// fileLine is a hash in hex and its line's end.
	fileLine = 65
)

// FirstLoad chooses the way for a load by its figures. It is pure. A file is for static sets alone, because it locks the
// audience; a replace pays when a diff would send more than the whole target, and must be likely to end in time; a diff is
// always right.
func FirstLoad(l Load, limits Limits) Choice {
	diff := way(ByDiff, cmp.Or(l.Requests, requestsOf(l.Additions, limits.Rows)+requestsOf(l.Removals, limits.Rows)), limits)
	var ways []Choice
	var why []string
	file, no := byFile(l, limits)
	if l.Files && l.Rows > 0 && limits.Files.Bytes > 0 {
		file.Reason = file.figures() + "; the audience is made of files, which nothing but files can change"
		return file
	}
	if no == "" {
		ways = append(ways, file)
	} else {
		why = append(why, no)
	}
	replace, no := byReplace(l, limits, diff)
	if no == "" {
		ways = append(ways, replace)
	} else {
		why = append(why, no)
	}
	best := diff
	others := make([]string, 0, 2)
	for _, w := range ways {
		if w.Requests < best.Requests {
			w, best = best, w
		}
		others = append(others, w.figures())
	}
	best.Reason = best.figures()
	if len(others) > 0 {
		best.Reason += ", against " + strings.Join(others, " and ")
	}
	if len(why) > 0 {
		best.Reason += "; " + strings.Join(why, "; ")
	}
	return best
}

// byFile counts uploads and the calls that name them; no says why it is out of question.
func byFile(l Load, limits Limits) (c Choice, no string) {
	switch {
	case limits.Files.Bytes == 0:
		return Choice{}, "the platform takes no files"
	case l.Rows == 0:
		return Choice{}, "files cannot empty an audience"
	case l.Files:
	case !l.Static:
		return Choice{}, fmt.Sprintf("no files, because the audience gets changes and each would lock it for up to %s", inWords(limits.Files.Locked))
	case l.Rows < worthFiles:
		return Choice{}, fmt.Sprintf("no files below %s rows", grouped(worthFiles))
	}
	files := requestsOf(l.Rows, limits.Files.Bytes/fileLine)
	calls := requestsOf(files, limits.Files.PerCall)
	c = way(ByFile, files+calls, limits)
	c.Duration += time.Duration(max(0, calls-1)) * limits.Files.Locked
	return c, ""
}

// byReplace counts the batches of the whole target.
func byReplace(l Load, limits Limits, diff Choice) (c Choice, no string) {
	c = way(ByReplace, requestsOf(l.Rows, limits.Rows), limits)
	switch longest := time.Duration(replaceShare * float64(limits.Replace.Within)); {
	case limits.Replace.Within == 0:
		return c, "the platform cannot replace"
	case l.Rows == 0:
		return c, "a replace cannot empty an audience"
	case l.Held == 0:
		return c, "nothing is there to replace"
	case l.Rows < worthReplace:
		return c, fmt.Sprintf("no replace below %s rows", grouped(worthReplace))
	case max(l.Rows, l.Held) >= limits.Replace.Rows:
		return c, fmt.Sprintf("no replace of %s rows or more", grouped(limits.Replace.Rows))
	case c.Duration > longest:
		return c, fmt.Sprintf("no replace, because its %s requests would take %s, more than half of the %s it may take",
			grouped(c.Requests), inWords(c.Duration), inWords(limits.Replace.Within))
	case c.Requests >= diff.Requests:
		return c, fmt.Sprintf("no replace, because the whole target is %s requests", grouped(c.Requests))
	}
	return c, ""
}

// way is a choice of so many requests at the pace of the limits.
func way(w Way, requests int64, limits Limits) Choice {
	c := Choice{Way: w, Requests: requests}
	if limits.RequestsPerSecond > 0 {
		c.Duration = time.Duration(float64(requests) / limits.RequestsPerSecond * float64(time.Second))
	}
	c.Duration = max(c.Duration, limits.Budget.Takes(requests))
	return c
}

// requestsOf is how many requests of so many rows each it takes.
func requestsOf(rows int64, each int) int64 {
	if each <= 0 {
		each = math.MaxInt32
	}
	return (rows + int64(each) - 1) / int64(each)
}

// figures are a way's requests and time.
func (c Choice) figures() string {
	noun := "requests"
	if c.Requests == 1 {
		noun = "request"
	}
	return fmt.Sprintf("%s: %s %s, %s", c.Way, grouped(c.Requests), noun, inWords(c.Duration))
}

// inWords rounds a duration to what people plan with.
func inWords(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int64(math.Ceil(d.Seconds())))
	case d < 3*time.Hour:
		return fmt.Sprintf("%d min", int64(math.Ceil(d.Minutes())))
	}
	return fmt.Sprintf("%d h", int64(math.Ceil(d.Hours())))
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
