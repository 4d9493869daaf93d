package expr

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/ast"

	"github.com/kohorta/kohorta/internal/audience"
)

// selected lowers record.field.
func (l *lowering) selected(e ast.Expr, record, name string, want kind) (field, error) {
	switch record {
	case "rfm":
		l.mention(e, anRFM, string(rfmModel))
		return field{from: score, model: rfmModel, name: name, of: records[record][name]}, l.needUser(e, record)
	case "profile":
		return field{from: ofProfile, name: name, of: records[record][name]}, l.needUser(e, record)
	default:
		return l.property(e, record, name, want)
	}
}

// measured are the fields of rfm by which users are ranked.
var measured = []string{"recency_days", "frequency", "monetary"}

// percentile lowers percentile(rfm.monetary) and its like.
func (l *lowering) percentile(of ast.Expr) (value, error) {
	if of.Kind() == ast.SelectKind && of.AsSelect().Operand().Kind() == ast.IdentKind {
		record, name := of.AsSelect().Operand().AsIdent(), of.AsSelect().FieldName()
		if record == "rfm" && slices.Contains(measured, name) {
			f, err := l.selected(of, record, name, number)
			f.percentile = true
			return f, err
		}
	}
	return nil, l.errorAt(of, usage["percentile"], "a percentile is that of rfm.recency_days, rfm.frequency or rfm.monetary")
}

// property lowers an entry of prop or attr as the kind its surroundings ask for.
func (l *lowering) property(e ast.Expr, record, name string, want kind) (field, error) {
	if want != text && want != number && want != unknown {
		return field{}, l.errorAt(e, "", "a property is a text or a number, not a %s", want)
	}
	switch record {
	case "prop":
		l.mention(e, aProperty, name)
		return field{from: ofEvent, name: name, of: want}, l.needEvent(e, record)
	case "attr":
		l.mention(e, anAttribute, name)
		return field{from: attribute, name: name, of: want}, l.needUser(e, record)
	default:
		return field{}, l.errorAt(e, "prop and attr have entries", "%s has no entries", record)
	}
}

// needEvent refuses facts of an event outside a predicate.
func (l *lowering) needEvent(e ast.Expr, name string) error {
	if l.inEvent {
		return nil
	}
	return l.errorAt(e, "use it as the last argument of an aggregate: "+usage["did"], "%s belongs to an event", name)
}

// needUser refuses facts of the user inside a predicate.
func (l *lowering) needUser(e ast.Expr, name string) error {
	if !l.inEvent {
		return nil
	}
	return l.errorAt(e, "a predicate sees prop, value and constants; join other conditions outside by &&",
		"%s cannot stand inside the predicate on an event", name)
}

// id is the constant id of a resource.
func (l *lowering) id(e, arg ast.Expr, referent referent, of string) (string, error) {
	if err := l.needUser(e, of); err != nil {
		return "", err
	}
	id, err := l.constant(arg, "the id of "+of)
	if err != nil {
		return "", err
	}
	if err := audience.ValidSlug("id", id); err != nil {
		return "", l.errorAt(arg, "an id has 1 to 63 of a-z, 0-9, - and _, starting with a letter", "%.80q is not the id of %s", id, of)
	}
	if instead, given := l.instead[audience.SegmentID(id)]; given && referent == aSegment {
		id = string(instead)
	}
	l.mention(arg, referent, id)
	return id, nil
}

// fieldNames are the fields of the records, as an expression writes them.
func fieldNames() (names []string) {
	for _, record := range slices.Sorted(maps.Keys(records)) {
		for _, name := range slices.Sorted(maps.Keys(records[record])) {
			names = append(names, record+"."+name)
		}
	}
	return names
}
