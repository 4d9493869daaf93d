package expr

import (
	"maps"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kohorta/kohorta/internal/audience"
)

// rfmModel is the model that rfm.r and its like read.
const rfmModel audience.ModelID = "rfm"

// The records of the language and the kind of each field. Fields of prop and attr are whatever the data holds.
var records = map[string]map[string]kind{
	"rfm": {
		"r": number, "f": number, "m": number, "segment": text,
		"recency_days": number, "frequency": number, "monetary": number,
	},
	"profile": {"country": text},
}

// usage says how a function is called; it is the hint of errors about it.
var usage = map[string]string{
	"count":          `count("purchase"), count("purchase", "30d") or count("purchase", "30d", value > 10.0)`,
	"sum":            `sum("purchase"), sum("purchase", "30d") or sum("purchase", "30d", prop.category == "Furniture")`,
	"did":            `did("visit"), did("visit", "7d") or did("visit", "7d", prop.page == "pricing")`,
	"avg":            `avg("purchase", value, "90d") or avg("purchase", prop.price, "90d", prop.category == "Furniture")`,
	"min":            `min("purchase", prop.price) or min("purchase", value, "90d")`,
	"max":            `max("purchase", value, "90d") or max("visit", prop.duration)`,
	"count_distinct": `count_distinct("visit", prop.page, "7d")`,
	"first_value":    `first_value("visit", prop.source) == "newsletter"`,
	"last_value":     `last_value("visit", prop.page) == "pricing" or last_value("rating", prop.stars, "30d") <= 2`,
	"sequence":       `sequence(["visit", "cart", "purchase"], "7d") or sequence(["cart", without("purchase", "1h")], "2d")`,
	"step":           `step("cart"), step("cart", "1h") or step("cart", "1h", value > 100.0)`,
	"without":        `without("purchase"), without("purchase", "1h") or without("purchase", value > 10.0)`,
	"last":           `last("purchase") > now - duration("720h") or last("purchase", value > 10.0)`,
	"first":          `first("purchase") < timestamp("2024-01-01T00:00:00Z") or first("purchase", value > 10.0)`,
	"days_since":     `days_since("visit") >= 7 or days_since("visit", prop.page == "pricing")`,
	"percentile":     `percentile(rfm.monetary) >= 0.9`,
	"cluster":        `cluster("model") == 2`,
	"in_segment":     `in_segment("other-segment")`,
	"timestamp":      `timestamp("2024-01-01T00:00:00Z")`,
	"duration":       `duration("36h") or duration("30d")`,
	"startsWith":     `prop.sku.startsWith("A-")`,
	"endsWith":       `prop.sku.endsWith("-XL")`,
	"contains":       `prop.name.contains("chair")`,
	"has":            `has(prop.coupon) or has(attr.plan)`,
}

// variables are the names that expressions may use.
var variables = []string{"rfm", "profile", "attr", "prop", "value", "now"}

// stepType is the type of a step of a sequence.
var stepType = cel.OpaqueType("step")

// environment is CEL reduced to this language: only what is declared here exists, and the checker refuses everything else.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	properties := cel.MapType(cel.StringType, cel.DynType)
	options := []cel.EnvOption{
		cel.CustomTypeProvider(provider{types.NewEmptyRegistry()}),
		cel.Macros(cel.HasMacro),
		cel.ParserRecursionLimit(maxNesting),
		cel.Variable("rfm", cel.ObjectType("rfm")),
		cel.Variable("profile", cel.ObjectType("profile")),
		cel.Variable("attr", properties),
		cel.Variable("prop", properties),
		cel.Variable("value", cel.DoubleType),
		cel.Variable("now", cel.TimestampType),
	}
	for name, signatures := range map[string][]signature{
		operators.LogicalAnd:    {{cel.BoolType, cel.BoolType, cel.BoolType}},
		operators.LogicalOr:     {{cel.BoolType, cel.BoolType, cel.BoolType}},
		operators.LogicalNot:    {{cel.BoolType, cel.BoolType}},
		operators.Conditional:   conditionals(),
		operators.Equals:        comparisons(signature{cel.BoolType, cel.BoolType, cel.BoolType}),
		operators.NotEquals:     comparisons(signature{cel.BoolType, cel.BoolType, cel.BoolType}),
		operators.Less:          comparisons(),
		operators.LessEquals:    comparisons(),
		operators.Greater:       comparisons(),
		operators.GreaterEquals: comparisons(),
		operators.Index:         {{cel.DynType, properties, cel.StringType}},
		operators.In: {
			{cel.BoolType, cel.DynType, cel.ListType(cel.DynType)},
			{cel.BoolType, cel.StringType, properties}},
		operators.Negate: {
			{cel.IntType, cel.IntType},
			{cel.DoubleType, cel.DoubleType},
			{cel.DurationType, cel.DurationType}},
		operators.Multiply: arithmetics(),
		operators.Divide:   arithmetics(),
		operators.Add: arithmetics(
			signature{cel.TimestampType, cel.TimestampType, cel.DurationType},
			signature{cel.TimestampType, cel.DurationType, cel.TimestampType},
			signature{cel.DurationType, cel.DurationType, cel.DurationType}),
		operators.Subtract: arithmetics(
			signature{cel.TimestampType, cel.TimestampType, cel.DurationType},
			signature{cel.DurationType, cel.TimestampType, cel.TimestampType},
			signature{cel.DurationType, cel.DurationType, cel.DurationType}),

		"count":          aggregates(cel.IntType, true),
		"sum":            append(aggregates(cel.DoubleType, true), summaries(cel.DoubleType, cel.DoubleType)...),
		"avg":            summaries(cel.DoubleType, cel.DoubleType),
		"min":            summaries(cel.DoubleType, cel.DoubleType),
		"max":            summaries(cel.DoubleType, cel.DoubleType),
		"count_distinct": summaries(cel.IntType, cel.DynType),
		"first_value":    summaries(cel.DynType, cel.DynType),
		"last_value":     summaries(cel.DynType, cel.DynType),
		"sequence":       {{cel.BoolType, cel.ListType(cel.DynType)}, {cel.BoolType, cel.ListType(cel.DynType), cel.StringType}},
		"step":           aggregates(stepType, true),
		"without":        aggregates(stepType, true),
		"did":            aggregates(cel.BoolType, true),
		"last":           aggregates(cel.TimestampType, false),
		"first":          aggregates(cel.TimestampType, false),
		"days_since":     aggregates(cel.IntType, false),
		"percentile":     {{cel.DoubleType, cel.DoubleType}},
		"cluster":        {{cel.IntType, cel.StringType}},
		"in_segment":     {{cel.BoolType, cel.StringType}},
		"timestamp":      {{cel.TimestampType, cel.StringType}},
		"duration":       {{cel.DurationType, cel.StringType}},
	} {
		var overloads []cel.FunctionOpt
		for _, s := range signatures {
			overloads = append(overloads, cel.Overload(s.id(name), s[1:], s[0]))
		}
		options = append(options, cel.Function(name, overloads...))
	}
	for _, name := range []matcher{startsWith, endsWith, contains} {
		receiver := signature{cel.BoolType, cel.StringType, cel.StringType}
		options = append(options, cel.Function(string(name), cel.MemberOverload(receiver.id(string(name)), receiver[1:], receiver[0])))
	}
	return cel.NewCustomEnv(options...)
})

// signature is the type of a function's result, then those of its arguments.
type signature []*cel.Type

func (s signature) id(name string) string {
	id := name
	for _, argument := range s[1:] {
		id += "," + argument.String()
	}
	return id
}

// aggregates are the forms of an aggregate: with or without a predicate and, where it takes one, a window.
func aggregates(result *cel.Type, windowed bool) []signature {
	forms := []signature{{result, cel.StringType}, {result, cel.StringType, cel.BoolType}}
	if windowed {
		forms = append(forms, signature{result, cel.StringType, cel.StringType}, signature{result, cel.StringType, cel.StringType, cel.BoolType})
	}
	return forms
}

// summaries are the forms of an aggregate of something that each event has.
func summaries(result, of *cel.Type) []signature {
	return []signature{
		{result, cel.StringType, of}, {result, cel.StringType, of, cel.StringType},
		{result, cel.StringType, of, cel.BoolType}, {result, cel.StringType, of, cel.StringType, cel.BoolType},
	}
}

// comparisons are the forms that every comparison has: between numbers of either type, texts, times and spans.
func comparisons(more ...signature) []signature {
	return append(more,
		signature{cel.BoolType, cel.IntType, cel.IntType},
		signature{cel.BoolType, cel.DoubleType, cel.DoubleType},
		signature{cel.BoolType, cel.IntType, cel.DoubleType},
		signature{cel.BoolType, cel.DoubleType, cel.IntType},
		signature{cel.BoolType, cel.StringType, cel.StringType},
		signature{cel.BoolType, cel.TimestampType, cel.TimestampType},
		signature{cel.BoolType, cel.DurationType, cel.DurationType})
}

func arithmetics(more ...signature) []signature {
	return append(more,
		signature{cel.IntType, cel.IntType, cel.IntType},
		signature{cel.DoubleType, cel.DoubleType, cel.DoubleType},
		signature{cel.DoubleType, cel.IntType, cel.DoubleType},
		signature{cel.DoubleType, cel.DoubleType, cel.IntType})
}

func conditionals() []signature {
	var forms []signature
	for _, of := range []*cel.Type{cel.BoolType, cel.IntType, cel.DoubleType, cel.TimestampType, cel.DurationType} {
		forms = append(forms, signature{of, cel.BoolType, of, of})
	}
	return append(forms,
		signature{cel.DoubleType, cel.BoolType, cel.IntType, cel.DoubleType},
		signature{cel.DoubleType, cel.BoolType, cel.DoubleType, cel.IntType})
}

// provider tells the checker the fields of records.
type provider struct{ *types.Registry }

func (provider) FindStructType(name string) (*types.Type, bool) {
	_, found := records[name]
	return types.NewTypeTypeWithParam(types.NewObjectType(name)), found
}

func (provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, found := records[name]
	return slices.Sorted(maps.Keys(fields)), found
}

func (provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	switch records[name][field] {
	case number:
		return &types.FieldType{Type: types.DoubleType}, true
	case text:
		return &types.FieldType{Type: types.StringType}, true
	default:
		return nil, false
	}
}
