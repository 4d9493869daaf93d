package server

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kohorta/kohorta/internal/audience"
)

// The values of the contract's enums are the words of internal/audience behind a prefix: STATE_RUNNING is "running",
// RECENCY_CALENDAR is "calendar". UNSPECIFIED is "".

// enum is a generated enum.
type enum interface {
	~int32
	protoreflect.Enum
}

// wordOf is the word of an enum value; not ok for UNSPECIFIED and for numbers this version does not know.
func wordOf[E enum](value E) (word string, ok bool) {
	found := value.Descriptor().Values().ByNumber(value.Number())
	if found == nil || value == 0 {
		return "", false
	}
	return strings.ToLower(strings.TrimPrefix(string(found.Name()), enumPrefix(value))), true
}

// readWord is wordOf with "" for UNSPECIFIED; a number this version does not know is a fault of the field.
func readWord[E enum](v *audience.Violations, field string, value E) string {
	word, ok := wordOf(value)
	if !ok && value != 0 {
		v.Add(field, "has the value %d, which this version does not know", value)
	}
	return word
}

// valueOf is the enum value of a word; UNSPECIFIED for a word the contract does not have.
func valueOf[E enum, W ~string](word W) E {
	var none E
	found := none.Descriptor().Values().ByName(protoreflect.Name(enumPrefix(none) + strings.ToUpper(string(word))))
	if found == nil {
		return none
	}
	return E(found.Number())
}

// enumPrefix is what the names of an enum's values begin with, e.g. "STATE_".
func enumPrefix[E enum](value E) string {
	zero := string(value.Descriptor().Values().ByNumber(0).Name())
	return strings.TrimSuffix(zero, "UNSPECIFIED")
}
