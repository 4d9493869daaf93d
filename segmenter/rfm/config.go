package rfm

import (
	"errors"
	"fmt"
	"math"
)

// Convention is how cut points become scores.
type Convention string

// The scoring conventions.
const (
	// Quantile scores 1 + the number of inner quantiles strictly below the value; recency counts backwards (bins + 1 - that).
	// Equal values get equal scores.
	Quantile Convention = "quantile"
	// NTile makes bins of equal size (to within one), as SQL's ntile does: recency from most days to fewest, the others ascending,
	// ties by user id, so equal values may get different scores.
	NTile Convention = "ntile"
	// RFMPackage is the rule of the R package rfm: each inner quantile plus 1 (one day, one purchase, one currency unit) is the
	// inclusive lower bound of the next bin; recency counts backwards.
	RFMPackage Convention = "rfm_package"
)

// FrequencyBy is what frequency counts.
type FrequencyBy string

// What frequency can count.
const (
	Orders FrequencyBy = "orders" // distinct order ids; a purchase without one is an order of its own
	Days   FrequencyBy = "days"   // distinct calendar days in the time zone
	Events FrequencyBy = "events" // purchases
)

// MonetaryBy is how values become one number.
type MonetaryBy string

// What monetary can be.
const (
	Sum  MonetaryBy = "sum"
	Mean MonetaryBy = "mean" // sum / frequency, truncated toward zero to a micro, as ClickHouse's intDiv does
)

// Refunds says what becomes of negative values. They never count as purchases.
type Refunds string

// What can become of refunds.
const (
	Net    Refunds = "net"    // refunds reduce monetary
	Ignore Refunds = "ignore" // only purchases count
)

// RecencyBy is what a day is.
type RecencyBy string

// What a day can be.
const (
	Calendar RecencyBy = "calendar" // midnights between the two, in the time zone
	Elapsed  RecencyBy = "elapsed"  // full 24 hours between the two
)

// Config says how users are measured and scored. The zero value is valid: five bins by Quantile, over all history, UTC.
type Config struct {
	// Bins is the number of scores, 2 to 100. 0 means 5.
	Bins int `json:"bins,omitempty" yaml:"bins,omitempty"`
	// Convention is quantile, ntile or rfm_package. Empty means quantile.
	Convention Convention `json:"convention,omitempty" yaml:"convention,omitempty"`
	// CutPoints fixes the cut points of some or all dimensions, instead of fitting them.
	CutPoints CutPoints `json:"cut_points,omitzero" yaml:"cut_points,omitempty"`

	// Frequency counts orders, days or events. Empty means orders.
	Frequency FrequencyBy `json:"frequency,omitempty" yaml:"frequency,omitempty"`
	// Monetary is sum or mean. Empty means sum.
	Monetary MonetaryBy `json:"monetary,omitempty" yaml:"monetary,omitempty"`
	// Refunds is net or ignore. Empty means net.
	Refunds Refunds `json:"refunds,omitempty" yaml:"refunds,omitempty"`
	// Recency counts calendar or elapsed days. Empty means calendar.
	Recency RecencyBy `json:"recency,omitempty" yaml:"recency,omitempty"`

	// WindowDays is how many days of 24 hours before as_of count. 0 means all history.
	WindowDays int `json:"window_days,omitempty" yaml:"window_days,omitempty"`
	// TimeZone is an IANA name such as Europe/London. Empty means UTC.
	TimeZone string `json:"time_zone,omitempty" yaml:"time_zone,omitempty"`

	// SegmentPreset is the table of named segments: default or rfm_package. Empty means default.
	SegmentPreset string `json:"segment_preset,omitempty" yaml:"segment_preset,omitempty"`
	// SegmentRules is a table of one's own, on scores of 1 to Bins, instead of a preset.
	SegmentRules []Rule `json:"segment_rules,omitempty" yaml:"segment_rules,omitempty"`
}

// CutPoints are fixed cut points in ascending order, bins-1 for each dimension given: days, purchases, currency units. A value
// earns the next score (recency: loses one) when it exceeds a cut point; under RFMPackage, when it reaches it.
type CutPoints struct {
	Recency   []float64 `json:"recency,omitempty" yaml:"recency,omitempty"`
	Frequency []float64 `json:"frequency,omitempty" yaml:"frequency,omitempty"`
	Monetary  []float64 `json:"monetary,omitempty" yaml:"monetary,omitempty"`
}

func (c Config) bins() int {
	if c.Bins == 0 {
		return 5
	}
	return c.Bins
}

func (c Config) allFixed() bool {
	return c.CutPoints.Recency != nil && c.CutPoints.Frequency != nil && c.CutPoints.Monetary != nil
}

// Validate returns nil or every violation, joined, each "field.path: what is wrong and what would be right".
func (c Config) Validate() error {
	var errs []error
	report := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}
	if c.Bins != 0 && (c.Bins < 2 || c.Bins > 100) {
		report("bins", "%d is not between 2 and 100", c.Bins)
	}
	oneOf(report, "convention", c.Convention, Quantile, NTile, RFMPackage)
	oneOf(report, "frequency", c.Frequency, Orders, Days, Events)
	oneOf(report, "monetary", c.Monetary, Sum, Mean)
	oneOf(report, "refunds", c.Refunds, Net, Ignore)
	oneOf(report, "recency", c.Recency, Calendar, Elapsed)
	oneOf(report, "segment_preset", c.SegmentPreset, PresetDefault, PresetRFMPackage)

	c.validateCuts(report, "cut_points.recency", c.CutPoints.Recency)
	c.validateCuts(report, "cut_points.frequency", c.CutPoints.Frequency)
	c.validateCuts(report, "cut_points.monetary", c.CutPoints.Monetary)

	if c.WindowDays < 0 || c.WindowDays > maxWindowDays {
		report("window_days", "%d is not between 0 (all history) and %d", c.WindowDays, maxWindowDays)
	}
	if _, err := c.Location(); err != nil {
		report("time_zone", "%q is not an IANA time zone such as Europe/London", c.TimeZone)
	}
	if c.SegmentRules != nil && c.SegmentPreset != "" {
		report("segment_rules", "a segment_preset is given too: keep one of them")
	}
	for i, rule := range c.SegmentRules {
		rule.validate(report, fmt.Sprintf("segment_rules[%d]", i), c.bins())
	}
	return errors.Join(errs...)
}

// maxWindowDays keeps dates within the years that databases know: two centuries.
const maxWindowDays = 73_000

// maxCut keeps a fixed cut point exact in float64 as micros.
const maxCut = 1 << 53 / micros

func (c Config) validateCuts(report func(field, format string, args ...any), field string, cuts []float64) {
	if cuts == nil {
		return
	}
	if len(cuts) != c.bins()-1 {
		report(field, "%d cut points for %d bins: give %d", len(cuts), c.bins(), c.bins()-1)
	}
	for i, cut := range cuts {
		switch {
		case math.IsNaN(cut) || math.Abs(cut) > maxCut:
			report(fmt.Sprintf("%s[%d]", field, i), "%v is not a number between -%d and %d", cut, maxCut, maxCut)
		case i > 0 && cut <= cuts[i-1]:
			report(fmt.Sprintf("%s[%d]", field, i), "%v does not exceed the one before it, %v", cut, cuts[i-1])
		}
	}
}

// oneOf reports a value that is neither empty nor allowed.
func oneOf[T ~string](report func(field, format string, args ...any), field string, value T, allowed ...T) {
	if value == "" {
		return
	}
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	report(field, "%q is not one of %v", value, allowed)
}
