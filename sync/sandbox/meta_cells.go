package sandbox

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// metaColumn checks one cell. It returns the value to hold, "" for a blank, and a reason when the cell is bad.
type metaColumn func(cell any) (value, reason string)

var metaColumns = map[string]metaColumn{
	"EMAIL": hashCell, "PHONE": hashCell, "GEN": hashCell, "DOBY": hashCell, "DOBM": hashCell, "DOBD": hashCell, "LN": hashCell,
	"FN": hashCell, "FI": hashCell, "CT": hashCell, "ST": hashCell, "ZIP": hashCell, "COUNTRY": hashCell,
	"MADID": deviceCell, "EXTERN_ID": externCell, "UID": digitsCell, "APPUID": digitsCell, "PAGEUID": digitsCell,
	"LOOKALIKE_VALUE": valueCell, "DATA_PROCESSING_OPTIONS": optionsCell,
	"DATA_PROCESSING_OPTIONS_COUNTRY": integerCell, "DATA_PROCESSING_OPTIONS_STATE": integerCell,
}

// singleKeys are the names of a string schema and the key each uploads.
var singleKeys = map[string]string{"EMAIL_SHA256": "EMAIL", "PHONE_SHA256": "PHONE", "MOBILE_ADVERTISER_ID": "MADID", "UID": "UID"}

// emptyHash is the SHA-256 of nothing, a sure sign of a missing value hashed.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// isHash tells whether s is exactly digits lower-case hex digits.
func isHash(s string, digits int) bool {
	if len(s) != digits {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func hashCell(cell any) (value, reason string) {
	switch s, ok := cell.(string); {
	case !ok:
		return "", "value is not a string"
	case s == emptyHash:
		return "", "hash of an empty value"
	case s != "" && !isHash(s, 64):
		return "", "value is not hashed with SHA-256"
	default:
		return s, ""
	}
}

func deviceCell(cell any) (value, reason string) {
	switch s, ok := cell.(string); {
	case !ok:
		return "", "value is not a string"
	case isHash(s, 64):
		return "", "mobile advertiser id must not be hashed"
	case s != "" && !uuidForm.MatchString(s):
		return "", "invalid mobile advertiser id"
	default:
		return s, ""
	}
}

func externCell(cell any) (value, reason string) {
	switch s, ok := cell.(string); {
	case !ok:
		return "", "value is not a string"
	case s == "":
		return "", "empty external ID"
	default:
		return s, ""
	}
}

func digitsCell(cell any) (value, reason string) {
	s, ok := cell.(string)
	if n, isNumber := cell.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	if !ok || strings.Trim(s, "0123456789") != "" {
		return "", "invalid user id"
	}
	return s, ""
}

func valueCell(cell any) (value, reason string) {
	n, ok := cell.(json.Number)
	if f, err := n.Float64(); !ok || err != nil || f < 0 {
		return "", "lookalike value must be a number of at least 0"
	}
	return n.String(), ""
}

func optionsCell(cell any) (value, reason string) {
	list, ok := cell.([]any)
	if !ok || len(list) > 1 || len(list) == 1 && list[0] != "LDU" {
		return "", "invalid data processing options"
	}
	return "", ""
}

func integerCell(cell any) (value, reason string) {
	n, ok := cell.(json.Number)
	if _, err := strconv.Atoi(n.String()); !ok || err != nil {
		return "", "value is not an integer"
	}
	return "", ""
}
