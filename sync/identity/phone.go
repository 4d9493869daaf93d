package identity

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// appendMetaPhone: digits with country code, without + (sheet Meta 3.3). Digits of unknown country stand as they are when
// they are long enough to have a country code.
func appendMetaPhone(dst []byte, v, country string) ([]byte, string) {
	digits, sure, reason := international(v, country)
	switch {
	case reason != "":
		return dst, reason
	case !sure && len(digits) < 11:
		return dst, "has no country code, and the person's country is unknown"
	}
	return append(dst, digits...), ""
}

// appendTikTokPhone: E.164 with + (sheet TikTok 6).
func appendTikTokPhone(dst []byte, v, country string) ([]byte, string) {
	digits, sure, reason := international(v, country)
	switch {
	case reason != "":
		return dst, reason
	case !sure:
		return dst, "has no country code, and the person's country is unknown"
	}
	return append(append(dst, '+'), digits...), ""
}

// signs are what a number may have beside its digits; the Replacer takes them away.
var signs = strings.NewReplacer("+", "", " ", "", "(", "", ")", "")

// international gives the digits of a number with its country code; sure is false when they are the digits as given and
// nothing tells whether they begin with one.
func international(v, country string) (digits string, sure bool, reason string) {
	const malformed = "is not a phone number of 8 to 15 digits with its country code"
	if isE164(v) {
		return v[1:], true, ""
	}
	number := make([]byte, 0, 32)
	bare := true // nothing but digits after the +
	for _, r := range strings.TrimSpace(v) {
		switch d := digit(r); {
		case d >= 0:
			number = append(number, byte('0'+d))
		case (r == '+' || r == '＋') && !bytes.ContainsAny(number, "+0123456789"):
			number = append(number[:0], '+')
		case r == '(' || r == ')':
			number, bare = append(number, byte(r)), false
		case unicode.IsLetter(r) || strings.ContainsRune("+＋#*,;", r):
			return "", false, "has letters or an extension; send the number alone"
		case !unicode.Is(unicode.Cf, r): // invisible marks come with numbers copied from elsewhere
			number, bare = append(number, ' '), false
		}
	}
	given := string(number)
	if rest, ok := strings.CutPrefix(given, "00"); ok {
		given = "+" + rest
	}
	plain := signs.Replace(given)
	switch {
	case plain == "" || len(plain) > 15:
		return "", false, malformed
	case given[0] == '+' && bare:
		digits, sure = plain, true
	case given[0] == '+' || country != "":
		digits, sure = complete(given, country)
	}
	if !sure {
		digits = plain
	}
	if len(digits) < 8 || len(digits) > 15 || digits[0] == '0' {
		return "", false, malformed
	}
	return digits, sure, ""
}

// isE164 reports whether v is a + and 8 to 15 digits, the first of which is not 0: most numbers that were looked after.
func isE164(v string) bool {
	if len(v) < 9 || len(v) > 16 || v[0] != '+' || v[1] == '0' {
		return false
	}
	for i := 1; i < len(v); i++ {
		if v[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// complete reads a number by its country's own rules: trunk zeros go, a missing country code is put before it.
func complete(number, country string) (digits string, ok bool) {
	parsed, err := phonenumbers.Parse(number, country)
	if err != nil || (number[0] != '+' && !phonenumbers.IsPossibleNumber(parsed)) {
		return "", false
	}
	return strings.TrimPrefix(phonenumbers.Format(parsed, phonenumbers.E164), "+"), true
}

// digit is the value of a decimal digit of any script, full-width ones included, or -1. In Unicode the ten
// digits of a script stand together in order.
func digit(r rune) int {
	for _, block := range unicode.Nd.R16 {
		if rune(block.Lo) <= r && r <= rune(block.Hi) {
			return int(r-rune(block.Lo)) % 10
		}
	}
	for _, block := range unicode.Nd.R32 {
		if rune(block.Lo) <= r && r <= rune(block.Hi) {
			return int(r-rune(block.Lo)) % 10
		}
	}
	return -1
}
