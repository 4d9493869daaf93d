package expr

import (
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/segmenter/rfm"
)

// rfm is the model that rfm.r and its like read; nil as long as it is not trained.
func (c *composer) rfm() *RFM { return c.program.scores[rfmModel].RFM }

// rfmField writes rfm.r and its like: rfm.Config.Measure and rfm.Model.Score in SQL. A missing one is NaN or ”.
func (c *composer) rfmField(f field) string {
	model := c.rfm()
	switch {
	case model == nil && f.name == "segment":
		return "''"
	case model == nil:
		return "nan"
	case f.name == "segment":
		return fmt.Sprintf("if(%s, %s, '')", c.bought(), c.rfmSegment())
	}
	number := map[string]func() string{"r": c.r, "f": c.f, "m": c.m, "recency_days": c.recency, "frequency": c.frequency, "monetary": c.monetary}[f.name]()
	switch {
	case f.percentile:
		number = c.percentile(model.quantiles(f.name), number)
	case f.name == "monetary":
		number += " / 1e6"
	}
	return fmt.Sprintf("if(%s, toFloat64(%s), nan)", c.bought(), number)
}

// percentile writes rfm.Quantiles.Percentile of a column.
func (c *composer) percentile(q rfm.Quantiles, value string) string {
	if len(q.Values) == 0 {
		return "nan"
	}
	return c.derive(fmt.Sprintf("if(toInt64(%[1]s) < (%[2]d), 0, transform(roundDown(toInt64(%[1]s), %[3]s), %[3]s, %[4]s, toInt64(0))) / 1000",
		value, q.Values[0], integers(q.Values), integers(q.Shares)))
}

// integers writes a list of whole numbers.
func integers[T int | int64](list []T) string {
	return "CAST([" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list)), ", "), "[]") + "], 'Array(Int64)')"
}

// bought writes that the user has a purchase, and with it an RFM score.
func (c *composer) bought() string { return fmt.Sprintf("(%s > 0)", c.lastBought()) }

func (c *composer) r() string { return c.scale(c.rfm().Model.Recency, c.recency()) }
func (c *composer) f() string { return c.scale(c.rfm().Model.Frequency, c.frequency()) }
func (c *composer) m() string { return c.scale(c.rfm().Model.Monetary, c.monetary()) }

// purchases writes that the event at hand is a purchase.
func (c *composer) purchases() string {
	return c.each(c.ofTypes(c.rfm().PurchaseTypes) + " AND value_micros >= 0" + c.within(c.rfm().window()))
}

// ofTypes writes that the event at hand is of one of the types.
func (c *composer) ofTypes(types []string) string {
	numbers := make([]string, len(types))
	for i, event := range types {
		numbers[i] = fmt.Sprint(c.typeNumber(event, c.rfm().window()))
	}
	return fmt.Sprintf("type_number IN (%s)", strings.Join(numbers, ", "))
}

// lastBought is the column of the last purchase, one millisecond on; 0 is none.
func (c *composer) lastBought() string {
	return c.column(eventRows, fmt.Sprintf("maxIf(millis + 1, %s)", c.purchases()))
}

func (c *composer) recency() string {
	last := c.lastBought()
	if c.rfm().Config.Recency == rfm.Elapsed {
		return c.derive(fmt.Sprintf("intDiv(%d - %s, %d)", c.atMillis+1, last, dayMillis))
	}
	return c.derive(fmt.Sprintf("greatest(0, dateDiff('day', toDate32(fromUnixTimestamp64Milli(greatest(%s - 1, 0), 'UTC'), %s), toDate32('%s')))",
		last, c.zone(), c.today().Format(time.DateOnly)))
}

// zone is the time zone in which the model's days begin.
func (c *composer) zone() string {
	if zone := c.rfm().Config.TimeZone; zone != "" {
		return c.text(zone)
	}
	return "'UTC'"
}

// today is the time of evaluation in the model's zone.
func (c *composer) today() time.Time {
	zone, err := c.rfm().Config.Location()
	if err != nil {
		zone = time.UTC // a model's zone was checked before it was trained
	}
	return time.UnixMilli(c.atMillis).In(zone)
}

func (c *composer) frequency() string {
	switch bought := c.purchases(); c.rfm().Config.Frequency {
	case rfm.Days:
		day := c.each(fmt.Sprintf("toDate32(time, %s)", c.zone()))
		return c.column(eventRows, fmt.Sprintf("toInt64(uniqExactIf(%s, %s))", day, bought))
	case rfm.Events:
		return c.column(eventRows, fmt.Sprintf("toInt64(countIf(%s))", bought))
	default:
		return c.column(eventRows, fmt.Sprintf("toInt64(uniqExactIf(%s, %s))", c.each("order_hash"), bought))
	}
}

func (c *composer) monetary() string {
	counted := c.purchases()
	if c.rfm().Config.Refunds != rfm.Ignore {
		types := c.rfm().PurchaseTypes
		counted = c.each(fmt.Sprintf("(%s OR %s AND value_micros < 0)%s", c.ofTypes(types), c.ofTypes(c.rfm().RefundTypes), c.within(c.rfm().window())))
	}
	sum := c.column(eventRows, fmt.Sprintf("sumIf(value_micros, %s)", counted))
	if c.rfm().Config.Monetary == rfm.Mean {
		return c.derive(fmt.Sprintf("intDiv(%s, greatest(%s, 1))", sum, c.frequency()))
	}
	return sum
}

// scale writes rfm.Scale.Score of a column: one plus the bounds that the value passes.
func (c *composer) scale(scale rfm.Scale, value string) string {
	terms := []string{"1"}
	for _, bound := range scale.Bounds {
		sign, op := "", ">="
		if scale.Descending {
			sign, op = "-", "<="
		}
		if bound.Key == "" {
			terms = append(terms, fmt.Sprintf("(%s %s (%d))", value, op, bound.Value))
			continue
		}
		ranked := bound.Value
		if scale.Descending {
			ranked = -ranked
		}
		terms = append(terms, fmt.Sprintf("((%stoInt64(%s), user_id) >= (toInt64(%d), %s))", sign, value, ranked, c.text(bound.Key)))
	}
	return c.derive(strings.Join(terms, " + "))
}

// rfmSegment names the segment of the three scores.
func (c *composer) rfmSegment() string {
	rules := c.rfm().Model.Rules
	if len(rules) == 0 {
		return c.text(rfm.Others)
	}
	var cases []string
	for _, rule := range rules {
		fits := []string{"1"}
		for _, dim := range []struct {
			score  string
			within rfm.Range
		}{{c.r(), rule.Recency}, {c.f(), rule.Frequency}, {c.m(), rule.Monetary}} {
			if dim.within != (rfm.Range{}) {
				fits = append(fits, fmt.Sprintf("%s BETWEEN %d AND %d", dim.score, dim.within[0], dim.within[1]))
			}
		}
		cases = append(cases, strings.Join(fits, " AND "), c.text(rule.Segment))
	}
	return c.derive(fmt.Sprintf("multiIf(%s, %s)", strings.Join(cases, ", "), c.text(rfm.Others)))
}

// rfmChange writes the next instant at which recency becomes another number of days that matters to the field; 0 is never.
func (c *composer) rfmChange(name string) string {
	days, each := c.rfm().agingDays(name)
	list := fmt.Sprintf("CAST([%s + 1], 'Array(Int64)')", c.recency())
	if !each {
		list = integers(days)
	}
	next := c.derive(fmt.Sprintf("arrayMin(arrayFilter(days -> days > %[1]s AND days < %[1]s + %[2]d, %[3]s))",
		c.recency(), maxWindowMillis/dayMillis, list))
	instant := fmt.Sprintf("%s - 1 + %s * %d", c.lastBought(), next, dayMillis)
	if c.rfm().Config.Recency != rfm.Elapsed {
		instant = fmt.Sprintf("greatest(toUnixTimestamp64Milli(toDateTime64(addDays(toDate32('%s'), %s - %s), 3, %s)), %d)",
			c.today().Format(time.DateOnly), next, c.recency(), c.zone(), c.atMillis+1)
	}
	return fmt.Sprintf("if(%s AND %s > 0, %s, 0)", c.bought(), next, instant)
}
