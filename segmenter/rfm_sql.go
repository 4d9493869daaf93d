package segmenter

import (
	"fmt"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// The SQL of an RFM training. Numbers stand in the text, everything else is bound.

// measureSQL stages recency, frequency and monetary of every user with a purchase in the window: rfm.Config.Measure for
// everybody. Only the purchases are read: the type leads the key of events.
func measureSQL(spec audience.RFMSpec, config rfm.Config, asOf time.Time, staging string) audience.Query {
	params := map[string]any{
		"purchases": orDefault(spec.PurchaseTypes, "purchase"),
		"refunds":   orDefault(spec.RefundTypes, "refund"),
		"zone":      "UTC",
		"as_of":     asOf.UnixMilli(),
	}
	if config.TimeZone != "" {
		params["zone"] = config.TimeZone
	}
	where := "time <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"
	if from := config.WindowStart(asOf); !from.IsZero() {
		where += " AND time > fromUnixTimestamp64Milli({from:Int64}, 'UTC')"
		params["from"] = from.UnixMilli()
	}
	recency := "greatest(0, dateDiff('day', toDate(maxIf(time, bought), {zone:String}), toDate(fromUnixTimestamp64Milli({as_of:Int64}), {zone:String})))"
	if config.Recency == rfm.Elapsed {
		recency = "intDiv({as_of:Int64} - toUnixTimestamp64Milli(maxIf(time, bought)), 86400000)"
	}
	var frequency string
	switch config.Frequency {
	case rfm.Days:
		frequency = "uniqExactIf(toDate(time, {zone:String}), bought)"
	case rfm.Events:
		frequency = "countIf(bought)"
	default:
		frequency = "uniqExactIf(order_hash, bought)"
	}
	monetary := "sum(value_micros)"
	if config.Refunds == rfm.Ignore {
		monetary = "sumIf(value_micros, bought)"
	}
	if config.Monetary == rfm.Mean {
		monetary = "intDiv(" + monetary + ", toInt64(frequency))"
	}
	return audience.Query{Params: params, SQL: fmt.Sprintf(`
CREATE TABLE %s ENGINE = MergeTree ORDER BY tuple() AS
SELECT user_id, toInt32(%s) AS recency_days, toUInt32(%s) AS frequency, toInt64(%s) AS monetary_micros
FROM (SELECT user_id, time, value_micros, order_hash, value_micros >= 0 AS bought FROM events
      WHERE (type IN {purchases:Array(String)} OR (type IN {refunds:Array(String)} AND value_micros < 0)) AND %s)
GROUP BY user_id HAVING countIf(bought) > 0`, staging, recency, frequency, monetary, where)}
}

// atRanksSQL reads the values at ranks, an array for each column: quantilesExact takes the element at floor(level × n).
func atRanksSQL(staging string, ranks []int, n int64, columns ...string) audience.Query {
	levels := make([]string, len(ranks))
	for i, rank := range ranks {
		levels[i] = literal((float64(rank) + 0.5) / float64(n))
	}
	values := make([]string, len(columns))
	for i, column := range columns {
		values[i] = fmt.Sprintf("quantilesExact(%s)(toInt64(%s))", strings.Join(levels, ", "), column)
	}
	return audience.Query{SQL: fmt.Sprintf("SELECT %s FROM %s", strings.Join(values, ", "), staging)}
}

// tileStartsSQL reads the value and user at which each tile but the first starts, ties by user id.
func tileStartsSQL(staging, column string, ranks []int) audience.Query {
	direction := ""
	if column == "recency_days" {
		direction = " DESC"
	}
	return audience.Query{
		SQL: fmt.Sprintf(`SELECT toInt64(value), user_id FROM
  (SELECT %[1]s AS value, user_id, row_number() OVER (ORDER BY %[1]s%[2]s, user_id) - 1 AS rank FROM %[3]s)
WHERE rank IN {ranks:Array(UInt64)} ORDER BY rank`, column, direction, staging),
		Params: map[string]any{"ranks": toUint64(ranks)},
	}
}

// scoreSQL writes the scores of everybody staged: rfm.Model.Score as sums of comparisons.
func scoreSQL(model rfm.Model, version audience.ModelVersion, staging string) audience.Query {
	q := audience.Query{Params: map[string]any{}}
	r := scaleSQL(&q, model.Recency, "recency_days")
	f := scaleSQL(&q, model.Frequency, "frequency")
	m := scaleSQL(&q, model.Monetary, "monetary_micros")
	names := make([]string, 0, 2*len(model.Rules)+1)
	for _, rule := range model.Rules {
		fits := []string{"1"}
		for _, dim := range []struct {
			column string
			scores rfm.Range
		}{{"r", rule.Recency}, {"f", rule.Frequency}, {"m", rule.Monetary}} {
			if dim.scores != (rfm.Range{}) {
				fits = append(fits, fmt.Sprintf("%s BETWEEN %d AND %d", dim.column, dim.scores[0], dim.scores[1]))
			}
		}
		names = append(names, strings.Join(fits, " AND "), bind(&q, rule.Segment))
	}
	names = append(names, bind(&q, rfm.Others))
	segment := names[0]
	if len(names) > 1 {
		segment = "multiIf(" + strings.Join(names, ", ") + ")"
	}
	q.SQL = fmt.Sprintf(`
INSERT INTO scores (model, version, user_id, r, f, m, segment, recency_days, frequency, monetary_micros)
SELECT %d, %d, user_id, toUInt8(%s) AS r, toUInt8(%s) AS f, toUInt8(%s) AS m, %s, recency_days, frequency, monetary_micros
FROM %s ORDER BY user_id`, version.Model, version.Version, r, f, m, segment, staging)
	return q
}

// scaleSQL is rfm.Scale.Score: one plus the bounds that the value passes.
func scaleSQL(q *audience.Query, scale rfm.Scale, column string) string {
	terms := []string{"1"}
	for _, bound := range scale.Bounds {
		var passes string
		switch {
		case bound.Key != "" && scale.Descending:
			passes = fmt.Sprintf("(-toInt64(%s), user_id) >= ((%d), %s)", column, -bound.Value, bind(q, bound.Key))
		case bound.Key != "":
			passes = fmt.Sprintf("(toInt64(%s), user_id) >= ((%d), %s)", column, bound.Value, bind(q, bound.Key))
		case scale.Descending:
			passes = fmt.Sprintf("%s <= (%d)", column, bound.Value)
		default:
			passes = fmt.Sprintf("%s >= (%d)", column, bound.Value)
		}
		terms = append(terms, "("+passes+")")
	}
	return strings.Join(terms, " + ")
}
