package segmenter_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// author writes random expressions over a vocabulary so small that they meet the histories.
type author struct {
	*rand.Rand
	segments int // that in_segment may name: s1, s2, …
}

var (
	lawTypes   = []string{"purchase", "visit", "view"}
	lawWindows = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour}
	lawColors  = []string{"red", "green"}
	countries  = []string{"DE", "FR"}
)

func pick[T any](r *rand.Rand, options []T) T { return options[r.IntN(len(options))] }

func (a author) event() string { return strconv.Quote(pick(a.Rand, lawTypes)) }

func (a author) window() string {
	w := pick(a.Rand, lawWindows)
	return strconv.Quote(fmt.Sprintf("%dm", int(w.Minutes())))
}

func (a author) compared() string { return pick(a.Rand, []string{"<", "<=", ">", ">=", "==", "!="}) }

// condition is a random condition, of at most that many levels.
func (a author) condition(depth int) string {
	if depth > 0 {
		switch a.IntN(5) {
		case 0:
			return fmt.Sprintf("(%s && %s)", a.condition(depth-1), a.condition(depth-1))
		case 1:
			return fmt.Sprintf("(%s || %s)", a.condition(depth-1), a.condition(depth-1))
		case 2:
			return "!" + a.condition(depth-1)
		}
	}
	return a.leaf()
}

// leaf is a condition that passing time can change, mostly.
func (a author) leaf() string {
	forms := 9
	if a.segments > 0 {
		forms = 10
	}
	filter := []string{"", fmt.Sprintf(", prop.color == %q", pick(a.Rand, lawColors)), ", value > 2.0"}[a.IntN(3)]
	switch a.IntN(forms) {
	case 0:
		return fmt.Sprintf("did(%s, %s%s)", a.event(), a.window(), filter)
	case 1, 2:
		return fmt.Sprintf("(count(%s, %s%s) %s %d)", a.event(), a.window(), filter, a.compared(), a.IntN(3))
	case 3:
		return fmt.Sprintf("(sum(%s, %s%s) %s %d.0)", a.event(), a.window(), filter, a.compared(), a.IntN(4))
	case 4:
		return fmt.Sprintf("(days_since(%s) %s %d)", a.event(), a.compared(), a.IntN(3))
	case 5:
		return fmt.Sprintf("(now - last(%s) %s duration(%s))", a.event(), pick(a.Rand, []string{"<", "<=", ">", ">="}), a.window())
	case 6:
		return fmt.Sprintf("(now - first(%s) %s duration(%s))", a.event(), pick(a.Rand, []string{"<", "<=", ">", ">="}), a.window())
	case 7:
		return fmt.Sprintf("(profile.country == %q)", pick(a.Rand, countries))
	case 8:
		return fmt.Sprintf("(count(%s, %s) > count(%s, %s))", a.event(), a.window(), a.event(), a.window())
	default:
		return fmt.Sprintf(`in_segment("s%d")`, 1+a.IntN(a.segments))
	}
}
