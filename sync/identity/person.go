package identity

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// appendName: lower case, no white space, no punctuation; letters of every script stay (sheet Meta 3.3).
func appendName(dst []byte, v string) ([]byte, string) {
	start := len(dst)
	for _, r := range strings.ToLower(norm.NFC.String(v)) {
		if !unicode.IsSpace(r) && !unicode.Is(unicode.P, r) && !strings.ContainsRune("$+<=>^`|~", r) {
			dst = utf8.AppendRune(dst, r)
		}
	}
	// What stood apart may compose now, and lower-casing may have decomposed.
	dst = append(dst[:start], norm.NFC.Bytes(dst[start:])...)
	if bytes.IndexFunc(dst[start:], unicode.IsLetter) < 0 {
		return dst, "has no letters"
	}
	return dst, ""
}

// appendInitial: the first character of the normalised first name.
func appendInitial(dst []byte, v string) ([]byte, string) {
	start := len(dst)
	dst, reason := appendName(dst, v)
	first, size := utf8.DecodeRune(dst[start:])
	if reason == "" && !unicode.IsLetter(first) {
		reason = "does not begin with a letter"
	}
	return dst[:start+size], reason
}

// appendGender: m or f.
func appendGender(dst []byte, v string) ([]byte, string) {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "m", "male", "man", "boy":
		return append(dst, 'm'), ""
	case "f", "female", "woman", "girl":
		return append(dst, 'f'), ""
	}
	return dst, "is not a gender Meta knows: male or female"
}

var months = []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
	"november", "december"}

// appendBirthYear: 1900 to 2099, of a year or a date.
func appendBirthYear(dst []byte, v string) ([]byte, string) {
	year, ok := birthPart(v, 0)
	if n, err := strconv.ParseUint(year, 10, 16); !ok || err != nil || len(year) != 4 || n < 1900 || n > 2099 {
		return dst, "is not a year from 1900, or a date as YYYY-MM-DD"
	}
	return append(dst, year...), ""
}

// appendBirthMonth: 01 to 12, of a month's number or English name, or a date.
func appendBirthMonth(dst []byte, v string) ([]byte, string) {
	month, ok := birthPart(v, 1)
	for i, name := range months {
		if strings.EqualFold(month, name) {
			month = strconv.Itoa(i + 1)
		}
	}
	if dst, in := appendTwoDigits(dst, month, 12); ok && in {
		return dst, ""
	}
	return dst, "is not a month from 1 to 12, or a date as YYYY-MM-DD"
}

// appendBirthDay: 01 to 31, of a day or a date.
func appendBirthDay(dst []byte, v string) ([]byte, string) {
	day, ok := birthPart(v, 2)
	if dst, in := appendTwoDigits(dst, day, 31); ok && in {
		return dst, ""
	}
	return dst, "is not a day from 1 to 31, or a date as YYYY-MM-DD"
}

// birthPart is one part (0 year, 1 month, 2 day) of a date YYYY-MM-DD, or v itself when it is no date; digits in ASCII.
func birthPart(v string, part int) (string, bool) {
	v = asciiDigits(strings.TrimSpace(v))
	parts := strings.Split(v, "-")
	switch {
	case len(parts) == 1:
		return v, true
	case len(parts) == 3 && len(parts[0]) == 4 && len(parts[1]) == 2 && len(parts[2]) == 2:
		return parts[part], true
	}
	return "", false
}

// appendTwoDigits appends a number of one or two digits from 1 to highest as two.
func appendTwoDigits(dst []byte, v string, highest int) ([]byte, bool) {
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil || len(v) > 2 || n < 1 || int(n) > highest {
		return dst, false
	}
	return append(dst, byte('0'+n/10), byte('0'+n%10)), true
}

// asciiDigits writes the decimal digits of every script as 0 to 9.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if d := digit(r); d >= 0 {
			return rune('0' + d)
		}
		return r
	}, s)
}
