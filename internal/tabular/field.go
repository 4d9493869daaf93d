package tabular

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/kohorta/kohorta/internal/audience"
)

// row is one record: its cells by column, and the line it begins on.
type row struct {
	cells map[string]string
	lists []string // columns that hold a list, which makes no cell
	line  int
}

// field gives the text of one field of the event.
type field func(row) (string, error)

// environment declares what expressions of a mapping may use.
var environment = func() *cel.Env {
	env, err := cel.NewEnv(
		cel.Variable("row", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("line", cel.IntType),
	)
	if err != nil {
		panic(err) // fixed declarations
	}
	return env
}()

// compile makes a field of a mapping's entry: "" (no such field), a column, or an expression.
func compile(name, source string, columns map[string]bool) (field, error) {
	if source == "" {
		return nil, nil
	}
	expression, isExpression := strings.CutPrefix(source, "=")
	if !isExpression {
		if columns != nil && !columns[source] {
			return nil, audience.Invalid(name, "the file has no column %q; it has %s", source, quoted(columns))
		}
		return func(r row) (string, error) {
			if slices.Contains(r.lists, source) {
				return "", audience.Invalid(name, "%q is a list; events take texts and numbers", source)
			}
			return r.cells[source], nil
		}, nil
	}
	program, err := compileCEL(name, expression)
	if err != nil {
		return nil, err
	}
	return func(r row) (string, error) {
		value, err := program(r)
		if err != nil {
			return "", audience.Invalid(name, "%v", err)
		}
		if number, ok := value.(float64); ok {
			return strconv.FormatFloat(number, 'f', -1, 64), nil
		}
		return fmt.Sprint(value), nil
	}, nil
}

// compileCEL makes a function of an expression.
func compileCEL(name, expression string) (func(row) (any, error), error) {
	ast, issues := environment.Compile(expression)
	if issues.Err() != nil {
		return nil, audience.Invalid(name, "%v", issues.Err())
	}
	program, err := environment.Program(ast)
	if err != nil {
		return nil, audience.Invalid(name, "%v", err)
	}
	return func(r row) (any, error) {
		out, _, err := program.Eval(map[string]any{"row": r.cells, "line": r.line})
		if err != nil {
			return nil, err
		}
		return out.Value(), nil
	}, nil
}

// parseTime reads a time as the mapping says it is written.
func parseTime(text, layout string, zone *time.Location) (time.Time, error) {
	switch layout {
	case "unix", "unix_ms":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return time.Time{}, audience.Invalid("time", "%.40q is not a whole number of the layout %s", text, layout)
		}
		if layout == "unix" {
			return time.Unix(n, 0).UTC(), nil
		}
		return time.UnixMilli(n).UTC(), nil
	case "":
		for _, layout := range []string{time.DateTime, time.DateOnly, time.RFC3339Nano, "2006-01-02T15:04:05"} {
			if t, err := time.ParseInLocation(layout, text, zone); err == nil {
				return t.UTC(), nil
			}
		}
		return time.Time{}, audience.Invalid("time", "%.40q is not like 2006-01-02, 2006-01-02 15:04:05, 2006-01-02T15:04:05 or RFC 3339; set time_layout", text)
	}
	t, err := time.ParseInLocation(layout, text, zone)
	if err != nil {
		return time.Time{}, audience.Invalid("time", "%.40q is not of the layout %q", text, layout)
	}
	return t.UTC(), nil
}

// parseNumber reads a finite number.
func parseNumber(name, text string) (float64, error) {
	number, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, audience.Invalid(name, "%.40q is not a finite number", text)
	}
	return number, nil
}

// parseMicros reads units of the currency, rounded to the nearest micro.
func parseMicros(text string) (int64, error) {
	number, err := parseNumber("value", text)
	if err != nil {
		return 0, err
	}
	micros := math.Round(number * 1e6)
	if math.Abs(micros) > audience.MaxValueMicros {
		return 0, audience.Invalid("value", "is beyond ±%d (a billion units)", int64(audience.MaxValueMicros/1e6))
	}
	return int64(micros), nil
}
