package rfm

import (
	"math"
	"slices"
)

// The tables of named segments there are.
const (
	PresetDefault    = "default"     // all combinations named, in the words of the field
	PresetRFMPackage = "rfm_package" // the table of the R package rfm
)

// Others is the segment of scores that no rule fits. The default table leaves none.
const Others = "others"

// Rule names the scores that lie in all three of its ranges.
type Rule struct {
	Segment   string `json:"segment" yaml:"segment"` // lower snake case, such as at_risk
	Recency   Range  `json:"recency,omitzero" yaml:"recency,omitempty"`
	Frequency Range  `json:"frequency,omitzero" yaml:"frequency,omitempty"`
	Monetary  Range  `json:"monetary,omitzero" yaml:"monetary,omitempty"`
}

// Range is lowest and highest score, both included. The zero value is any score.
type Range [2]int

func (r Range) holds(score int) bool {
	return r == Range{} || r[0] <= score && score <= r[1]
}

// Segment is the name of the first rule that fits, or Others.
func Segment(rules []Rule, r, f, m int) string {
	for _, rule := range rules {
		if rule.Recency.holds(r) && rule.Frequency.holds(f) && rule.Monetary.holds(m) {
			return rule.Segment
		}
	}
	return Others
}

// defaultRules names all 125 combinations of five bins, by the two-dimensional grid of recency and frequency that the field uses,
// with money telling the best, and those worth most effort, from the others:
//
//	champions           bought lately, often, and much
//	loyal               buy often, and still do
//	potential_loyalist  bought lately, more than once
//	new                 bought lately, for the first time
//	promising           bought not long ago, for the first time
//	need_attention      middling all round, or slipping with money to lose
//	about_to_sleep      slipping, seldom bought
//	cant_lose           were among the best, have not come for long
//	at_risk             bought often, or for much, have not come for long
//	hibernating         long gone, seldom bought
//	lost                longest gone, seldom bought, for little
var defaultRules = []Rule{
	{"champions", Range{5, 5}, Range{4, 5}, Range{4, 5}},
	{"loyal", Range{3, 5}, Range{4, 5}, Range{}},
	{"potential_loyalist", Range{4, 5}, Range{2, 3}, Range{}},
	{"new", Range{5, 5}, Range{1, 1}, Range{}},
	{"promising", Range{4, 4}, Range{1, 1}, Range{}},
	{"need_attention", Range{3, 3}, Range{3, 3}, Range{}},
	{"need_attention", Range{3, 3}, Range{1, 2}, Range{4, 5}},
	{"about_to_sleep", Range{3, 3}, Range{1, 2}, Range{}},
	{"cant_lose", Range{1, 2}, Range{4, 5}, Range{4, 5}},
	{"at_risk", Range{1, 2}, Range{3, 5}, Range{}},
	{"at_risk", Range{1, 2}, Range{1, 2}, Range{5, 5}},
	{"hibernating", Range{2, 2}, Range{1, 2}, Range{}},
	{"hibernating", Range{1, 1}, Range{1, 2}, Range{3, 4}},
	{"lost", Range{1, 1}, Range{1, 2}, Range{}},
}

// rfmPackageRules is the table in the documentation of the R package rfm (A. Hebbali, MIT licence). It leaves some combinations
// to Others.
var rfmPackageRules = []Rule{
	{"champions", Range{5, 5}, Range{5, 5}, Range{5, 5}},
	{"potential_loyalist", Range{3, 5}, Range{3, 5}, Range{2, 5}},
	{"loyal_customers", Range{2, 4}, Range{2, 4}, Range{2, 4}},
	{"promising", Range{3, 4}, Range{1, 3}, Range{3, 5}},
	{"new_customers", Range{4, 5}, Range{1, 3}, Range{1, 5}},
	{"cant_lose_them", Range{1, 2}, Range{3, 4}, Range{4, 5}},
	{"at_risk", Range{1, 2}, Range{2, 5}, Range{4, 5}},
	{"need_attention", Range{1, 3}, Range{3, 5}, Range{3, 5}},
	{"about_to_sleep", Range{2, 3}, Range{1, 3}, Range{1, 4}},
	{"lost", Range{1, 1}, Range{1, 5}, Range{1, 5}},
}

// rules is the table in force, on scores of 1 to bins.
func (c Config) rules() []Rule {
	switch {
	case c.SegmentRules != nil:
		return slices.Clone(c.SegmentRules)
	case c.SegmentPreset == PresetRFMPackage:
		return stretch(rfmPackageRules, c.bins())
	}
	return stretch(defaultRules, c.bins())
}

// stretch turns a table for five bins into one for any number: a score stands for the one of five that is nearest on the scale
// from worst to best. Rules that no score is left for are dropped.
func stretch(rules []Rule, bins int) []Rule {
	var stretched []Rule
	for _, rule := range rules {
		rule.Recency = rule.Recency.stretch(bins)
		rule.Frequency = rule.Frequency.stretch(bins)
		rule.Monetary = rule.Monetary.stretch(bins)
		if rule.Recency[0] <= rule.Recency[1] && rule.Frequency[0] <= rule.Frequency[1] && rule.Monetary[0] <= rule.Monetary[1] {
			stretched = append(stretched, rule)
		}
	}
	return stretched
}

func (r Range) stretch(bins int) Range {
	if r == (Range{}) {
		return r
	}
	s := Range{bins + 1, 0} // empty
	for score := 1; score <= bins; score++ {
		if of5 := 1 + int(math.Round(4*float64(score-1)/float64(bins-1))); r.holds(of5) {
			s = Range{min(s[0], score), score}
		}
	}
	return s
}

func (r Rule) validate(report func(field, format string, args ...any), path string, bins int) {
	if !isSnakeCase(r.Segment) {
		report(path+".segment", "%q is not a name in lower snake case such as at_risk", r.Segment)
	}
	for _, dim := range []struct {
		name   string
		scores Range
	}{{"recency", r.Recency}, {"frequency", r.Frequency}, {"monetary", r.Monetary}} {
		if s := dim.scores; s != (Range{}) && (s[0] < 1 || s[1] > bins || s[0] > s[1]) {
			report(path+"."+dim.name, "[%d, %d] is not a range of scores within 1 to %d", s[0], s[1], bins)
		}
	}
}

func isSnakeCase(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
