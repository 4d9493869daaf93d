package expr

import "fmt"

// aggregateNumber writes an aggregate that is no text; a missing one is NaN.
func (w writer) aggregateNumber(a aggregate) string {
	column := w.summary(a)
	switch a.function {
	case sum:
		if a.of == nil {
			return fmt.Sprintf("(%s / 1e6)", column)
		}
		return fmt.Sprintf("(toFloat64(%s) / 1e6)", column)
	case average: // 0 / 0 is NaN
		return fmt.Sprintf("(toFloat64(%s) / 1e6 / %s)", column, w.having(a))
	case minimum, maximum, firstValue, lastValue:
		return fmt.Sprintf("if(%s = 0, nan, %s)", w.having(a), column)
	case last, first:
		return fmt.Sprintf("if(%s = 0, nan, toFloat64(%s - 1))", column, column)
	case daysSince:
		return fmt.Sprintf("if(%s = 0, nan, toFloat64(intDiv(%d - %s, %d)))", column, w.atMillis+1, column, dayMillis)
	default:
		return fmt.Sprintf("toFloat64(%s)", column)
	}
}

// summary is the aggregate's column. Times are one millisecond on, so that 0 is none.
func (c *composer) summary(a aggregate) string {
	counts := c.matches(a.eventMatch, a.window)
	if a.of != nil {
		counts += " AND " + c.hasSummand(a.of)
	}
	var sql string
	switch a.function {
	case sum, average:
		sql = fmt.Sprintf("sumIf(%s, %s)", c.summand(a), counts)
	case minimum:
		sql = fmt.Sprintf("minIf(%s, %s)", c.eachNumber(a.of), counts)
	case maximum:
		sql = fmt.Sprintf("maxIf(%s, %s)", c.eachNumber(a.of), counts)
	case firstValue:
		sql = fmt.Sprintf("argMinIf(%s, (millis, %s), %s)", c.eachValue(a.of), c.each("event_id"), counts)
	case lastValue:
		sql = fmt.Sprintf("argMaxIf(%s, (millis, %s), %s)", c.eachValue(a.of), c.each("event_id"), counts)
	case countDistinct:
		sql = fmt.Sprintf("uniqExactIf(%s, %s)", c.eachValue(a.of), counts)
	case last, daysSince:
		sql = fmt.Sprintf("maxIf(millis + 1, %s)", counts)
	case first:
		sql = fmt.Sprintf("minIf(millis + 1, %s)", counts)
	default:
		sql = fmt.Sprintf("countIf(%s)", counts)
	}
	return c.column(eventRows, sql)
}

// happened writes a comparison that only asks whether a count is 0, if it is one, as most that call did are. The newest
// event answers it for all windows that end now: they share a column.
func (c *composer) happened(asked comparison) (sql string, asks bool) {
	a, isAggregate := asked.left.(aggregate)
	l, isLiteral := asked.right.(literal)
	if !isAggregate || !isLiteral || a.function != count {
		return "", false
	}
	after, until := a.window.bounds(c.atMillis)
	if until != c.atMillis {
		return "", false
	}
	var op string
	switch (literalComparison{asked.op, l.number}) {
	case literalComparison{greater, 0}, literalComparison{notEqual, 0}, literalComparison{greaterOrEqual, 1}:
		op = ">"
	case literalComparison{equal, 0}, literalComparison{lessOrEqual, 0}, literalComparison{less, 1}:
		op = "<="
	default:
		return "", false
	}
	newest := c.column(eventRows, fmt.Sprintf("maxIf(millis + 1, %s)", c.ofMatch(a.eventMatch, a.window)))
	return fmt.Sprintf("(%s %s %d)", newest, op, max(after+1, 0)), true
}

// literalComparison is a comparison with a number.
type literalComparison struct {
	op operator
	to float64
}

// having is the column that counts the events that have what the aggregate summarises.
func (c *composer) having(a aggregate) string {
	return c.column(eventRows, fmt.Sprintf("countIf(%s AND %s)", c.matches(a.eventMatch, a.window), c.hasSummand(a.of)))
}

// summand is what a sum adds up of the event at hand: whole millionths, so that no order of adding matters.
func (c *composer) summand(a aggregate) string {
	if a.of == nil {
		return "value_micros"
	}
	return c.each(fmt.Sprintf("toInt128(round(least(greatest(%s * 1e6, -%g), %g)))", c.eachNumber(a.of), maxSummand, maxSummand))
}

// maxSummand is where what is added up ends, in millionths.
const maxSummand = 1e30

func (c *composer) eachNumber(v value) string { return c.each(c.ofEvent().number(v) + " + 0") } // -0 is 0

// eachValue is a column of the value of each event: of a property of unknown kind which it is, its text, its number.
func (c *composer) eachValue(v value) string {
	w := c.ofEvent()
	switch v.kind() {
	case text:
		return c.each(w.text(v))
	case unknown:
		asText, asNumber := v.(field), v.(field)
		asText.of, asNumber.of = text, number
		isNumber := w.present(asNumber) // the empty text and 0 are two values
		return c.each(fmt.Sprintf("(%[1]s, %[2]s, if(%[1]s, %[3]s + 0, 0))", isNumber, w.text(asText), w.number(asNumber)))
	default:
		return c.eachNumber(v)
	}
}

// hasSummand is a column that says whether the event at hand has the value.
func (c *composer) hasSummand(v value) string {
	if f, isField := v.(field); isField && f.from == ofEvent {
		return c.each(c.ofEvent().present(f))
	}
	return c.each(fmt.Sprintf("NOT isNaN(%s)", c.ofEvent().number(v)))
}
